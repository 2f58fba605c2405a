"""PostgreSQL: connections, calls of our SQL functions, and what its errors mean."""

from qctl.db.calls import (
    Call,
    call,
    call_procedure,
    call_tuples,
    call_value,
    execute_script,
    fetch,
    fetch_tuples,
    known,
)
from qctl.db.connection import (
    Connection,
    alone,
    connect,
    connect_worker,
    hurried,
    is_pooled,
    label,
    on_warning,
    redacted,
    transaction,
    where,
    without_secrets,
)
from qctl.db.errors import translated, translating

__all__ = [
    "Call",
    "Connection",
    "alone",
    "call",
    "call_procedure",
    "call_tuples",
    "call_value",
    "connect",
    "connect_worker",
    "execute_script",
    "fetch",
    "fetch_tuples",
    "hurried",
    "is_pooled",
    "known",
    "label",
    "on_warning",
    "redacted",
    "transaction",
    "translated",
    "translating",
    "where",
    "without_secrets",
]
