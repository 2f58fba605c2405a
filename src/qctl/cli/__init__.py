"""The command line."""

from qctl.late import late

late(
    *(
        "qctl.access",
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
        "qctl.models",
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

from qctl.cli.app import main  # noqa: E402

__all__ = ["main"]
