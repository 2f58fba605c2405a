"""Advisory locks are taken by name: a name that nobody knows gives null, and a lock of null is none."""

import re
from pathlib import Path

import pytest

from helpers import one

TEXTS = "\n".join(path.read_text() for path in (Path(__file__).parents[2] / "sql").rglob("*.sql"))


@pytest.mark.parametrize("function", ["_lock_space", "_lock_key"])
def test_every_name_that_is_used_is_known(conn, function):
    names = set(re.findall(rf"qctl\.{function}\('([^']*)'\)", TEXTS))
    assert len(names) >= 5
    assert [name for name in names if one(conn, f"select qctl.{function}(%s)", name) is None] == []
