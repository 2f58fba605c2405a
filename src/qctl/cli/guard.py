"""The one error boundary: what a user reads and the exit code when something goes wrong."""

import os
import re
import shlex
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import typer

from qctl import config, db
from qctl.cli import synonyms
from qctl.cli.command import Group
from qctl.cli.console import report, say
from qctl.errors import ExitCode, QctlError, UsageError
from qctl.output.columns import zone_to_name

_CONNECTION = re.compile(r"://|\bpassword\s*=")


class Guard(Group):
    """The root command group. No exception passes it: each becomes lines on stderr and a typed exit code."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Finds the command; names ours for a word of other tools.

        Raises:
            UsageError: the word is of another tool.
        """
        if args and args[0] not in self.commands and (meant := synonyms.COMMANDS.get(args[0])):
            found = self.get_command(ctx, meant.split()[0])
            # What acts needs to know on what, so alone it would be the next error.
            alone = "" if getattr(found, "rich_help_panel", None) == "Look" else " --help"
            words = " ".join(_shown(args[1:])) if args[1:] else ""
            raise UsageError(f"there is no command {args[0]}", hint=f"qctl {meant}{f' {words}' if words else alone}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Reads the root's own options."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if not hasattr(error, "format_message"):
                raise
            report(_misused(error))
            raise typer.Exit(ExitCode.USAGE) from None

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        try:
            result = super().invoke(ctx)
            _name_zone()
            sys.stdout.flush()
        except QctlError as error:
            _name_zone()
            report(error)
            raise typer.Exit(error.code) from None
        except typer.Abort:
            # Ctrl-C or the end of input at a question.
            say("nothing was done")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except BrokenPipeError:
            # The reader has what it wanted; nothing is left to flush into the closed pipe at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(ExitCode.DONE) from None
        except OSError as error:
            if config.debug():
                raise
            say(f"Error: {error.strerror or error}")
            raise typer.Exit(ExitCode.BUG) from None
        except Exception as error:
            if type(error).__module__.partition(".")[0] == "typer":
                misuse: Any = error
                if not hasattr(misuse, "format_message"):
                    raise
                # A group without its command has shown its help and has no more to say.
                if misuse.format_message():
                    report(_misused(misuse))
                raise typer.Exit(ExitCode.USAGE) from None
            if config.debug():
                raise
            where = traceback.extract_tb(error.__traceback__)[-1]
            say(
                f"Error: this is a bug in qctl: {type(error).__name__} in {where.name} ({where.filename}:{where.lineno})"
            )
            say("  Try:  QCTL_DEBUG=1 qctl … shows the traceback; please report it")
            raise typer.Exit(ExitCode.BUG) from None
        return result


@contextmanager
def printing() -> Generator[None]:
    """Ends well when the reader of what the block prints has gone, and says so when it cannot be written."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.DONE)
    except OSError as error:
        say(f"Error: {error.strerror or error}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.BUG)


def _name_zone() -> None:
    """Says of which zone the times on the screen are, once."""
    if config.stderr_is_terminal() and (named := zone_to_name()):
        say(f"times are {named}")


def _misused(error: Any) -> UsageError:
    """What Typer finds wrong with a command line, as we say it: with the command line that was meant, or the help."""
    if (option := _understood(error, sys.argv[1:])) is not None:
        return UsageError(f"there is no option {option}", hint=_typed_with_ours(sys.argv[1:]))
    about = getattr(error, "ctx", None)
    command = about.command_path if about is not None else "qctl"
    hint = f"{command} --help" if " " in command else "qctl help --all"
    return UsageError(error.format_message().rstrip("."), hint=hint)


def _understood(error: Any, words: list[str]) -> str | None:
    """The unknown option of another tool, if it stands alone and this command has ours."""
    option = getattr(error, "option_name", None)
    ours = synonyms.OPTIONS.get(option or "")
    if ours is None or option not in words or error.ctx is None:
        return None
    known = {name for param in error.ctx.command.params for name in param.opts}
    return option if ours.split()[0] in known else None


def _typed_with_ours(words: list[str]) -> str:
    """The command line with our options in place of those of other tools."""
    return " ".join(["qctl", *(synonyms.OPTIONS.get(word) or _shown([word])[0] for word in words)])


def _shown(words: list[str]) -> list[str]:
    """Words as a shell takes them, without the password of a connection string."""
    return [shlex.quote(db.without_secrets(word)[0] if _CONNECTION.search(word) else word) for word in words]
