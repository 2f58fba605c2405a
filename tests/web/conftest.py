"""qctl web as a process, and a browser."""

import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb
from web_window import HOSTILE, Window

from helpers import claim, create, one, settle
from processes import QCTL, environment, wait_until


@pytest.fixture
def windows(dsn) -> Iterator[Callable[..., Window]]:
    """Starts windows that are gone after the test."""
    started: list[tuple[subprocess.Popen, threading.Thread]] = []

    def start(*arguments: str, uri: str = dsn, **variables: str) -> Window:
        process = subprocess.Popen(
            [str(QCTL), "web", "--port", "0", *arguments],
            env=environment(QCTL_DSN=uri, **variables), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(iter(process.stderr.readline, "")), daemon=True)
        reader.start()
        started.append((process, reader))
        wait_until(lambda: any("Ctrl-C ends" in line for line in said) or process.poll() is not None, 30)
        found = re.search(r"(http://\S+)/ shows", "".join(said))
        assert found, said
        return Window(process, found[1])

    yield start
    for process, reader in started:
        process.terminate()
        process.wait(20)
        reader.join()
        process.stderr.close()


@pytest.fixture
def busy(conn) -> psycopg.Connection:
    """Two queues: one with a dead endpoint, dead letters and hostile texts in payloads, headers, errors and answers."""
    create(conn, retry_schedule_s=[], reject_after=1)
    create(conn, "users")
    conn.execute("create table public.users (id int primary key)")
    conn.execute("select qctl.attach('public.users', 'users')")
    conn.execute(
        "select qctl.send('orders', array(select jsonb_build_object('n', n, 'x', %s::text) from generate_series(1, 60) n), %s)",
        [HOSTILE, Jsonb({"X-Hostile": HOSTILE.replace("\x1b", "")})],
    )
    settle(conn, claim(conn, 5), 500, error=HOSTILE, response=HOSTILE.encode())
    settle(conn, claim(conn, 5), 200, response=HOSTILE.encode())
    conn.execute("select qctl.discard('orders', array[20], %s)", [HOSTILE])
    assert one(conn, "select count(*) from qctl.dead_letter") == 6
    return conn


@pytest.fixture
def screenshots() -> Path:
    folder = Path(__file__).parents[2] / ".venv" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
