"""The runbooks that come with qctl: which one is about a finding, and their texts."""

import re
from importlib.resources import files
from pathlib import Path

# By the cause of a finding; of no_worker the page depends on the transport.
PAGES = {
    "endpoint_failing": "endpoint-down",
    "circuit_open": "endpoint-down",
    "gone": "endpoint-down",
    "failure_rate": "endpoint-down",
    "secret_missing": "endpoint-down",
    "address_refused": "endpoint-down",
    "growing": "many-waiting",
    "lag": "many-waiting",
    "age": "many-waiting",
    "depth": "many-waiting",
    "paused": "many-waiting",
    "no_worker": "many-waiting",
    "dead": "dead-letters",
    "unarmed": "restore-or-clone",
    "capture_broken": "restore-or-clone",
    "silence": "restore-or-clone",
    "table_missing": "restore-or-clone",
}


def page_of(cause: str, fix: str | None) -> str | None:
    """The name of the runbook for a cause, if there is one.

    Args:
        cause: as health and check name it.
        fix: the command that was found for it.
    """
    # A named connection stands between the words of a command.
    fix = None if fix is None else re.sub(r"qctl (--\w+ ('[^']*'|\S+) )+", "qctl ", fix)
    if cause == "no_worker" and fix is not None and fix.startswith(("supabase ", "qctl edge ", "qctl help edge")):
        return "edge-worker"
    if cause == "no_worker" and fix is not None and "qctl worker" not in fix:
        return "pg-net-stuck"
    return PAGES.get(cause)


def names() -> list[str]:
    """The runbooks by name."""
    return sorted(page.stem for page in _folder().glob("*.md") if page.stem != "index")


def text(name: str) -> str:
    """A runbook of :func:`names` as Markdown."""
    return (_folder() / f"{name}.md").read_text(encoding="utf-8")


def _folder() -> Path:
    packaged = Path(str(files("qctl"))) / "runbooks"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "docs" / "runbooks"
