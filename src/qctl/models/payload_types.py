"""What the messages of a queue hold."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class PayloadTypes:
    """A table that is attached to a queue. ``columns``: of each its name and ``type``, as ``qctl._json_type()`` gives it."""

    relation: str
    schema_name: str
    table_name: str
    operations: list[str]
    format: str
    has_body: bool
    key_columns: list[str]
    columns: list[dict[str, Any]]
