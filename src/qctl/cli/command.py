"""A command as its help shows it: brackets in its text are text, and a flag has no value."""

from typing import Any

from typer.core import TyperCommand, TyperGroup


def without_values(params: list[Any]) -> list[Any]:
    """Parameters of which the flags show no type of a value that they do not take."""
    for param in params:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
    return params


class Group(TyperGroup):
    """The class of a group of commands."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters."""
        return without_values(super().get_params(ctx))


class Command(TyperCommand):
    """The class of every command."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters."""
        return without_values(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the help; without this Rich takes ``[queue]`` for a style and leaves it out."""
        from rich.markup import escape

        text = self.help
        texts: dict[Any, str] = {}
        if text:
            self.help = escape(text)
        params: list[Any] = self.params
        for param in params:
            if getattr(param, "help", None):
                texts[param] = param.help
                param.help = escape(param.help)
        try:
            super().format_help(ctx, formatter)
        finally:
            self.help = text
            for param, shown in texts.items():
                param.help = shown
