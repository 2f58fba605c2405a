"""The command line."""

from qctl.late import late, late_class

late(
    *(
        "qctl.access",
        "qctl.addresses",
        "qctl.arming",
        "qctl.attachments",
        "qctl.attempts",
        "qctl.bulk",
        "qctl.config",
        "qctl.db",
        "qctl.declared",
        "qctl.demo",
        "qctl.events",
    ),
    *(
        "qctl.health",
        "qctl.label",
        "qctl.messages",
        "qctl.migrate",
        "qctl.partitions",
        "qctl.probe",
        "qctl.purging",
        "qctl.queues",
        "qctl.scaling",
        "qctl.secret",
        "qctl.serving",
    ),
    *("qctl.testing", "qctl.worker"),
)

# Typer imports both for help and uses neither here: help is no Markdown, and no traceback reaches a user.
late_class("Markdown", "rich.markdown")
late_class("Traceback", "rich.traceback")

from qctl.cli.app import main  # noqa: E402

__all__ = ["main"]
