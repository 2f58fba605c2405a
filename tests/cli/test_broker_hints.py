"""What is printed about brokers, typed in a shell as it stands: it removes what it names and changes nothing else."""

import re
import subprocess

import pytest

from helpers import create, one
from processes import QCTL, environment, ok, qctl, screen

BROKER = "amqps://rabbit.example.com/?queue=a"


def typed(command: str, dsn: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    env = environment(QCTL_DSN=dsn)
    env["PATH"] = f"{QCTL.parent}:{env['PATH']}"
    return subprocess.run(
        ["sh", "-c", command], env=env, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def settings(conn) -> dict:
    return one(conn, "select to_jsonb(q) from qctl.queue q")


@pytest.mark.parametrize(
    ("made", "refused", "setting", "after"),
    [
        (
            {"url": BROKER, "broker": {"username": "qctl"}},
            ["--url", "https://example.com/x"],
            "broker",
            {},
        ),
        ({"url": "https://example.com/x", "expect_text": "ok"}, ["--url", BROKER], "expect_text", None),
    ],
)
def test_the_hint_of_a_refused_url_removes_what_stands_in_its_way(conn, dsn, made, refused, setting, after):
    create(conn, **made)
    before = settings(conn)
    done = qctl("set", "-q", "orders", *refused, dsn=dsn)
    assert done.returncode == 2
    assert settings(conn) == before
    hint = re.search(r"Try:  (.*)", done.stderr)[1]
    assert typed(hint, dsn).returncode == 0
    assert settings(conn) == {**before, setting: after}
    ok("set", "-q", "orders", *refused, dsn=dsn)


def test_the_hint_of_a_missing_secret_of_a_connection_makes_it(conn, dsn):
    create(conn, url=BROKER)
    said = ok("set", "-q", "orders", "--broker", "password=secret:rabbit", dsn=dsn).stderr
    before = settings(conn)
    assert one(conn, "select cause from qctl._cause_gate(qctl._queue('orders'::text))") == "secret_missing"
    # A terminal asks for the value; without one it comes from stdin.
    assert typed(f"{re.search(r'Try:  (.*)', said)[1]} -", dsn, "hush\n").returncode == 0
    assert conn.execute("select from qctl._cause_gate(qctl._queue('orders'::text))").fetchone() is None
    assert settings(conn) == before


def test_a_busy_database_is_told_of_with_a_command_that_plans_both_ways(conn, dsn):
    create(conn)
    conn.execute(
        "insert into qctl.throughput (queue_id, minute, delivered, failed, dead, lost)"
        " select 1, date_trunc('minute', now()) - n * interval '1 min', 300000, 0, 0, 0 from generate_series(0, 12) n"
    )
    conn.execute("update qctl.upkept set rolled_to = now()")
    problem, fix = conn.execute("select problem, fix from qctl.doctor() where kind = 'load'").fetchone()
    assert fix is None, "planning relieves nothing"
    planned = typed(problem.partition("see: ")[2] + " -o csv", dsn)
    assert planned.returncode == 0
    assert ",http," in planned.stdout and ",broker," in planned.stdout
    shown = screen(dsn, "status", columns=200, rows=50)
    assert re.search(r"Next: qctl capacity --rate \d+/s", shown), shown
    assert "qctl set -q QUEUE --url 'amqps://HOST/?queue=NAME' --log failures" in planned.stderr
