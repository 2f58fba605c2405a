"""Each command with its panel in the help. Its module in qctl.cli.commands has its name, with _ for -."""

PANELS: dict[str, tuple[str, ...]] = {
    "Set up": (
        *(
            "install",
            "upgrade",
            "create",
            "set",
            "attach",
            "detach",
            "adopt-webhook",
            "apply",
            "export",
            "arm",
            "disarm",
            "grant",
        ),
        *("revoke", "secret", "partition", "events", "verify", "edge", "drop", "uninstall", "demo"),
    ),
    "Look": (
        *(
            "status",
            "depth",
            "lag",
            "queues",
            "describe",
            "metrics",
            "check",
            "doctor",
            "messages",
            "dead",
            "show",
            "tail",
        ),
        *("capacity", "types", "web", "config"),
    ),
    "Act": ("replay", "discard", "purge", "send", "test", "listen", "backfill", "pause", "resume", "scale", "worker"),
    "Help": ("completion",),
}
