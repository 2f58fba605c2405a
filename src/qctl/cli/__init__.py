"""The command line."""

from qctl.lazy import lazy, lazy_class, modules_in

lazy("qctl.config", "qctl.db", "qctl.exact_json", "qctl.http_server", "qctl.ssrf", "qctl.demo.pipeline")
lazy(*modules_in("qctl.operations"), *modules_in("qctl.worker"), *modules_in("qctl.listening"))

# Typer imports both for help and uses neither here: help is not Markdown, and no traceback reaches a user.
lazy_class("Markdown", "rich.markdown")
lazy_class("Traceback", "rich.traceback")

from qctl.cli.app import main  # noqa: E402

__all__ = ["main"]
