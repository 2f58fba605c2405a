"""Durations, headers, units, SQL files, settings: what needs no database."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from qctl import config
from qctl.cli import options
from qctl.db import files
from qctl.errors import UsageError
from qctl.output import columns
from qctl.worker.request import retry_after_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("1.5h", 5400),
        ("1h30m", 5400),
        ("7d", 604800),
        ("2w", 1209600),
        ("0s", 0),
        ("0", 0),
        (" 5m ", 300),
    ],
)
def test_durations(text, seconds):
    assert options.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-1s", "1 h", "7dd", "1e9s", "∞", "9" * 40 + "s", "1h-30m", "٣s"])
def test_what_is_no_duration(text):
    with pytest.raises(UsageError, match="not a duration"):
        options.duration(text)


def test_retry_after_in_both_forms():
    soon = datetime.now(UTC) + timedelta(seconds=100)
    assert 95 <= retry_after_seconds(format_datetime(soon, usegmt=True).encode()) <= 100
    assert retry_after_seconds(b" 120\r\n") == 120
    assert retry_after_seconds(b"9" * 30) == 2**31 - 1
    assert retry_after_seconds(b"Wed, 21 Oct 2015 07:28:00 GMT") == 0
    for nothing in (b"", b"soon", b"-5", b"1.5", b"\xff", "٣".encode(), b"Wed, 99 Foo 2015"):
        assert retry_after_seconds(nothing) is None


def test_lists_of_durations():
    assert options.durations("5s,5m, 1h") == [5, 300, 3600]
    assert options.durations("") == []


def test_headers():
    assert options.headers(["X-A: 1", "X-B:two: three", "X-Empty:"]) == {"X-A": "1", "X-B": "two: three", "X-Empty": ""}
    with pytest.raises(UsageError):
        options.headers([": x"])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, "12ms"), (1, "1s"), (1.25, "1.2s"), (59.6, "1m"), (192, "3m 12s"), (3600, "1h"), (90061, "1d 1h"),
        (604800, "7d"), (-5, "-5s"),
    ],
)  # fmt: skip
def test_durations_for_people(seconds, text):
    assert columns.seconds(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 1024**4, "5.0 TiB")])
def test_sizes(size, text):
    assert columns.size(size) == text


def test_one_line():
    assert columns.one_line("a\nb\x1b[31mc") == "a b [31mc"


def test_every_query_is_one_statement_that_psql_can_run():
    for path in (files.root() / "queries").glob("*.sql"):
        text = path.read_text()
        assert text.startswith("-- "), path
        assert text.rstrip().endswith(";"), path
        assert text.count(";") == 1, path
        assert "%(" not in text, path


def test_variables_of_psql_become_parameters():
    assert b"attachments(%(queue)s::text)" in files.query("attachments")


def test_database_precedence():
    everything = {"QCTL_DSN": "b", "DATABASE_URL": "c"}
    assert config.database("a", None, everything).source == "--dsn"
    assert config.database(None, None, everything).source == "QCTL_DSN"
    assert config.database(None, None, {"QCTL_DSN": "", "DATABASE_URL": "c"}).source == "DATABASE_URL"
    assert config.database(None, None, {}) == config.Database("", "libpq defaults")
