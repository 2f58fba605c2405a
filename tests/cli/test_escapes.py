"""Names of somebody else's hold what a terminal obeys; no output and no message passes it on."""

import pytest

from helpers import create, send
from processes import qctl

EVIL = 'a\x1b]0;owned\x07\x9b31m"b'
QUOTED = EVIL.replace('"', '""')


@pytest.fixture
def evil_table(conn):
    create(conn)
    conn.execute(f'create table public."{QUOTED}" (id int primary key)')
    conn.execute(f"""select qctl.attach('public."{QUOTED.replace("'", "''")}"', 'orders')""")
    conn.execute(f'insert into public."{QUOTED}" values (1)')
    send(conn)


@pytest.mark.parametrize("form", ["table", "plain", "markdown", "tsv"])
@pytest.mark.parametrize(
    "command",
    [("describe", "orders"), ("messages",), ("verify",), ("doctor",), ("check",), ("status",), ("show", "orders/1", "--payload"),
     ("detach", f'public."{QUOTED}"', "--dry-run"), ("attach", f'public."{QUOTED}"', "-q", "orders", "--dry-run")],
)  # fmt: skip
def test_no_control_character_reaches_the_screen(conn, dsn, evil_table, command, form):
    done = qctl(*command, "-o", form, dsn=dsn)
    if "no such option" in done.stderr.lower():
        done = qctl(*command, dsn=dsn)
    shown = done.stdout + done.stderr
    assert "Traceback" not in shown
    assert not [c for c in shown if not c.isprintable() and c not in "\n\t"], shown


def test_an_error_that_repeats_it_shows_it_harmless(conn, dsn):
    create(conn)
    done = qctl("attach", f'public."{QUOTED}"', "-q", "orders", dsn=dsn)
    assert done.returncode == 6
    assert "\\x1b]0;owned" in done.stderr
    assert "\x1b" not in done.stderr
