"""A queue as a table of a TOML file: the opposite of what ``queue_settings`` and ``manifest`` read."""

import json
from typing import TYPE_CHECKING, Any

from qctl import units

if TYPE_CHECKING:
    from qctl import models

_HIDDEN = "..."


def table(row: "models.Queue", attached: "list[models.Attachment]") -> tuple[dict[str, Any], list[str]]:
    """The table that makes the same queue, and the headers whose value is hidden; because of one, all are left out."""
    hidden = sorted(name for name, value in row.headers.items() if value == _HIDDEN)
    found: dict[str, Any] = {"url": row.url, **settings(row)}
    if row.headers and not hidden:
        found["headers"] = row.headers
    if attached:
        found["attach"] = {attachment.relation: _attachment(attachment) for attachment in attached}
    return found, hidden


def settings(row: "models.Queue") -> dict[str, Any]:
    """Each setting under the name of its flag, in the order of ``describe``."""
    found: dict[str, Any] = {
        "transport": row.transport,
        "trust_location": row.trust_location,
        "timeout": _duration(row.timeout_ms),
        "concurrency": "auto" if row.concurrency_auto else row.concurrency,
        "batch": row.batch,
        "dedicated": row.dedicated,
        "max_in_flight": row.max_in_flight,
        "rate": "none" if row.rate_per_s is None else _rate(row.rate_per_s),
        "linger": "auto" if row.linger_ms is None else _duration(row.linger_ms),
        "log": row.log,
        "archive": row.archive,
        "broker": row.broker,
        "breaker": row.breaker_after or "off",
        "breaker_share": row.breaker_share,
        "breaker_pause": f"{row.breaker_pause_max_s}s",
        "allow_network": row.allow_networks,
        "accept_net_secrets": row.net_secrets,
        "expect_body": _expectation(row),
        "retry": [f"{wait}s" for wait in row.retry_schedule_s],
        "retry_jitter": row.retry_jitter,
        "retry_after_max": f"{row.retry_after_max_s}s",
        "ordered": row.ordered,
        "order_retry": [f"{wait}s" for wait in row.order_schedule_s],
        "on_dead": row.on_dead,
        "reject_after": row.reject_after,
        "max_lost": row.max_lost,
        "retention": "never" if row.retention_s is None else f"{row.retention_s}s",
    }
    if row.expect_json is not None and not isinstance(row.expect_json, dict | list):
        found["expect_json"] = row.expect_json
        del found["expect_body"]
    if not row.broker:
        del found["broker"]
    return found


def _expectation(row: "models.Queue") -> str:
    if row.expect_json is not None:
        return json.dumps(row.expect_json, ensure_ascii=False)
    return row.expect_text or ""


def _rate(per_s: float) -> str:
    """In the unit in which it was given: only there it is the same number again."""
    for unit, seconds in (("s", 1), ("min", 60), ("h", 3600)):
        text = f"{per_s * seconds:.3f}".rstrip("0").rstrip(".") + f"/{unit}"
        if units.rate(text) == per_s:
            return text
    return f"{per_s * 3600:.3f}/h"


def _duration(ms: int) -> str:
    return f"{ms}ms" if ms % 1000 else f"{ms // 1000}s"


def _attachment(attachment: "models.Attachment") -> dict[str, Any]:
    found: dict[str, Any] = {
        "on": [operation.lower() for operation in attachment.operations],
        "when": attachment.when_sql,
        "columns": attachment.columns,
        "format": attachment.payload,
        "body": attachment.body_sql,
        "unchanged": attachment.unchanged,
        "replicated": attachment.replicated,
        "on_error": attachment.on_error,
        "max_bytes": attachment.max_bytes,
        "order_by": attachment.order_by,
        "as_me": attachment.as_me,
    }
    return {key: value for key, value in found.items() if value is not None}
