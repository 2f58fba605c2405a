"""qctl alone: a page that fits on a small terminal, and the right next step for what is there."""

import shlex
import subprocess

import pytest

from helpers import create, send
from processes import QCTL, environment, failing, ok, plain, qctl, screen


def next_step(dsn: str | None = None, **extra: str) -> tuple[str, str]:
    """What the page finds, and what it says to type next."""
    lines = ok(dsn=dsn, **extra).stdout.splitlines()
    [place] = [number for number, line in enumerate(lines) if line.startswith("  Next: ")]
    return lines[place - 1], lines[place].removeprefix("  Next: ")


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_the_page_fits_on_80_by_24(conn, dsn, arguments):
    create(conn)
    lines = plain(screen(dsn, *arguments, columns=80, rows=24)).splitlines()
    assert sum(max(1, -(-len(line) // 80)) for line in lines) <= 24
    assert "qctl help --all" in "\n".join(lines)


def test_the_next_step_is_by_what_is_there(empty_dsn):
    found, typed = next_step(empty_dsn)
    assert "not installed" in found
    ok(*shlex.split(typed)[1:], dsn=empty_dsn)
    found, typed = next_step(empty_dsn)
    assert ("there is no queue" in found, typed.split()[:2]) == (True, ["qctl", "create"])
    ok("create", "orders", "--url", "https://example.com/x", dsn=empty_dsn)
    found, typed = next_step(empty_dsn)
    assert "orders: no qctl worker process" in found
    assert typed == "qctl worker -q orders"


def test_the_next_step_carries_the_connection_that_was_named(conn, dsn):
    create(conn)
    assert f"  Next: qctl --dsn '{dsn}' worker -q orders" in ok("--dsn", dsn, "--help").stdout


def test_nothing_configured_is_said_as_that(tmp_path):
    found, typed = next_step(HOME=str(tmp_path), QCTL_CONFIG=str(tmp_path / "none.toml"))
    assert "no database is configured" in found
    assert "qctl demo" in typed
    said = failing(3, "status", HOME=str(tmp_path), QCTL_CONFIG=str(tmp_path / "none.toml"))
    assert "no database is configured" in said
    assert "export QCTL_DSN=" in said
    assert "no database is configured" not in failing(3, "status", PGHOST=str(tmp_path))


def test_an_unreachable_server_or_a_wrong_name_still_shows_the_page(dsn):
    for arguments in (["--dsn", "host=127.0.0.1 port=9"], ["--profile", "none"], ["--dsn", "x"], ["--dsn="]):
        done = qctl(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert "qctl replay" in done.stdout
        assert "  Next: " in done.stdout


def test_a_database_that_is_too_slow_is_no_bug(conn, other, dsn):
    create(conn)
    with other.transaction():
        other.execute("lock table pgmq.q_orders")
        found, typed = next_step(dsn)
    assert "could not be read within 2 s" in found
    assert typed == "qctl status"


def test_a_zone_that_is_none_and_other_ways_to_ask_for_help(conn, dsn):
    create(conn)
    send(conn)
    # No zone is 25 hours from UTC.
    shown = ok("messages", dsn=dsn, TZ="ABC+25").stdout
    assert shown == ok("messages", dsn=dsn, TZ="UTC").stdout
    assert ok("help", "all").stdout == ok("--help", "--all").stdout == ok("help", "--all").stdout
    assert ok("help", "help").stdout.splitlines()[0].startswith("qctl ")
    closed = f"{QCTL} help many-waiting | (exec 0<&-; sleep 1)"
    done = subprocess.run(["bash", "-c", closed], env=environment(), capture_output=True, text=True, check=False)
    assert done.stderr == ""
