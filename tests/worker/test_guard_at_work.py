"""qctl worker and addresses that are not public: however they are written, nothing arrives there unless the operator says so."""

import math
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb

from helpers import create, one, send, states
from processes import QCTL, environment, qctl, wait_until
from qctl.config import Database
from qctl.db import connect_worker
from qctl.worker.carriers.all_carriers import AllCarriers
from qctl.worker.clock import clock
from qctl.worker.queue_set import QueueSet
from qctl.worker.request import Answer, Egress, Request
from qctl.worker.session import WorkerSession
from verifier import verifying

NO_FILE = {"QCTL_CONFIG": "/nonexistent/config.toml"}

HOSTS = [
    "127.0.0.1", "127.1", "127.0.1", "127.255.255.254", "2130706433", "0x7f000001", "0x7f.0x0.0x0.0x1", "0x7f.1", "0177.0.0.1",
    "0177.0.0.01", "017700000001", "127.0.0.1.", "0.0.0.0", "0", "0x0", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "localhost",
    "LOCALHOST", "localhost.", "10.0.0.1", "10.1", "172.16.0.1", "192.168.1.1", "192.168.257", "169.254.169.254",
    "2852039166", "0xa9fea9fe", "[::ffff:169.254.169.254]", "[fd00:ec2::254]", "100.64.0.1", "198.18.0.1", "[fe80::1]",
    "[fc00::1]",
]  # fmt: skip


@pytest.fixture
def guarded(dsn, monkeypatch):
    """Runs a worker that allows nothing but what queues allow."""

    def run(*arguments: str) -> str:
        done = qctl("worker", "-q", "orders", "--once", *arguments, dsn=dsn, **NO_FILE)
        assert done.returncode == 0, done.stderr
        return done.stderr

    return run


def queue_at(conn, url: str, *networks: str, name: str = "orders") -> None:
    conn.execute(
        "select qctl.create_queue(%s, %s, p_settings => %s)",
        (name, url, Jsonb({"allow_networks": list(networks), "timeout_ms": 2000})),
    )


def test_nothing_arrives_however_the_address_is_written(conn, dsn):
    """A queue for each way to write an address, one worker for all of them."""
    with verifying() as anyone:
        for number, host in enumerate(HOSTS):
            queue_at(conn, f"http://{host}:{anyone.server_address[1]}/hook", name=f"q{number}")
            send(conn, 1, f"q{number}")
        done = qctl("worker", "--all", "--once", dsn=dsn, **NO_FILE)
        assert done.returncode == 0, done.stderr
    assert anyone.refused == []
    rows = conn.execute(
        "select q.queue_name, a.outcome, a.error from qctl.queue q left join qctl.attempt a using (queue_id)"
    ).fetchall()
    assert len(rows) == len(HOSTS)
    for name, outcome, error in rows:
        # Forms that this libc does not read as an address fail as names.
        refused = "is not a public address" in error or "resolve" in error.lower()
        assert (outcome, refused) == ("retrying", True), (HOSTS[int(name[1:])], error)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"])
def test_the_same_is_reached_when_the_operator_says_so(conn, endpoint, guarded, host):
    receiver = endpoint()
    queue_at(conn, receiver.url.replace("127.0.0.1", host), "127.0.0.0/8", "::1/128")
    ids = send(conn)
    guarded()
    assert states(conn, ids) == {"delivered": 1}


def test_the_worker_can_allow_all(conn, endpoint, guarded):
    queue_at(conn, endpoint().url)
    ids = send(conn)
    guarded("--allow-private")
    assert states(conn, ids) == {"delivered": 1}


def test_a_connection_that_another_queue_may_use_is_not_lent(conn, endpoint, dsn):
    """libcurl keeps connections; the queue that may not go there gets none of another's."""
    receiver = endpoint()
    queue_at(conn, receiver.url, "127.0.0.0/8")
    queue_at(conn, receiver.url, name="second")
    send(conn, 20)
    ids = send(conn, 20, "second")
    done = qctl("worker", "--all", "--drain", dsn=dsn, **NO_FILE, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(receiver.accepted()) == 20
    assert states(conn, ids, "second")["delivered"] == 0
    assert one(conn, "select count(*) from qctl.attempt a join qctl.queue q using (queue_id) where queue_name = 'second'"
                     " and error ~ '^refused: 127.0.0.1 is not a public address'") > 0  # fmt: skip


def test_a_refused_address_opens_the_breaker_and_says_what_to_type(conn, endpoint, dsn):
    queue_at(conn, endpoint().url)
    ids = send(conn, 50)
    done = qctl("worker", "-q", "orders", "--drain", dsn=dsn, **NO_FILE)
    assert done.returncode == 0
    assert one(conn, "select opened_at is not null from qctl.gate")
    assert "qctl set -q orders --allow-private" in one(conn, "select open_reason from qctl.gate")
    assert states(conn, ids)["dead"] == 0


def test_redirects_into_the_inside_are_not_followed(conn, endpoint, guarded):
    with verifying() as inside, _redirecting(f"http://127.0.0.1:{inside.server_address[1]}/") as url:
        queue_at(conn, url, "127.0.0.0/8")
        ids = send(conn)
        guarded()
    assert inside.refused == []
    assert states(conn, ids) == {"retrying": 1}
    assert one(conn, "select status_code from qctl.attempt") == 307


@contextmanager
def _redirecting(to: str) -> Iterator[str]:
    """Answers one request with a 307."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(65536)
            client.sendall(f"HTTP/1.1 307 x\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n".encode())

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    listener.close()


def test_create_says_so_beforehand_and_on_pg_net_refuses(conn, dsn):
    done = qctl("create", "orders", "--url", "http://0x7f.1/hook", dsn=dsn, **NO_FILE)
    assert done.returncode == 0
    assert (
        "'0x7f.1' is not a public address, so qctl worker does not send there unless the queue allows it" in done.stderr
    )
    assert "Try:  qctl set -q orders --allow-private" in done.stderr


def test_sql_knows_the_same_addresses(conn):
    known = "select qctl._forbidden_host(jsonb_populate_record(null::qctl.queue, %s)) is not null"
    urls = [f"http://{host}:80/x" for host in HOSTS]
    assert [url for url in urls if not one(conn, known, Jsonb({"url": url, "allow_networks": []}))] == []
    public = [
        "https://1.1.1.1/",
        "https://hooks.example.com/",
        "https://[2606:4700::1]/",
        "https://10.example.com/",
        "https://134744072/",
    ]
    assert [url for url in public if one(conn, known, Jsonb({"url": url, "allow_networks": []}))] == []


def _rebinding(folder: Path, answers: list[str], *arguments: str, dsn: str) -> list[str]:
    """Runs a worker four times where names have other addresses each time; the addresses that were given."""
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"):
        pytest.skip("a network and a name server of its own need root, unshare and ip")
    (folder / "answers").write_text("\n".join(answers) + "\n")
    script = Path(__file__).parents[1] / "rebinding.py"
    for _ in range(4):
        worker = [str(QCTL), "worker", "-q", "orders", "--once", *arguments]
        done = subprocess.run(
            ["unshare", "-n", "-m", sys.executable, str(script), str(folder), *worker],
            env=environment(QCTL_DSN=dsn, **NO_FILE), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if "unshare failed" in done.stderr or "Operation not permitted" in done.stderr:
            pytest.skip(f"no namespaces here: {done.stderr.strip()[:100]}")
        assert done.returncode == 0, done.stderr
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("update pgmq.q_orders set vt = clock_timestamp()")
    return (folder / "asked").read_text().split()


@pytest.mark.parametrize(
    "answers",
    [["93.184.216.34", "127.0.0.1"], ["93.184.216.34 127.0.0.1"], ["127.0.0.1 93.184.216.34", "169.254.169.254"]],
    ids=["changing", "both", "metadata"],
)
def test_a_name_that_changes_its_answer_leads_nowhere(conn, dsn, tmp_path, answers):
    queue_at(conn, "http://rebind.example.com:8080/hook")
    send(conn)
    assert "127.0.0.1" in _rebinding(tmp_path, answers, dsn=dsn)
    assert not (tmp_path / "arrived").exists()
    assert one(conn, "select count(*) from qctl.attempt where error ~ 'refused: '") > 0


def test_the_same_name_is_reached_when_the_operator_says_so(conn, dsn, tmp_path):
    queue_at(conn, "http://rebind.example.com:8080/hook", "127.0.0.0/8")
    send(conn)
    _rebinding(tmp_path, ["127.0.0.1"], dsn=dsn)
    assert (tmp_path / "arrived").read_text() == "/hook\n"


def test_an_address_that_is_allowed_at_last_is_sent_to_at_once(conn, endpoint, dsn):
    """The message becomes due before the worker has read the new settings, which costs no attempt."""
    receiver = endpoint()
    create(conn, url=receiver.url, allow_networks=[], retry_schedule_s=[3600, 3600])
    process = subprocess.Popen(
        [str(QCTL), "worker", "--all"], env=environment(QCTL_DSN=dsn, **NO_FILE), stderr=subprocess.DEVNULL
    )
    try:
        _allowed_at_last(conn, receiver)
    finally:
        process.kill()
        process.wait()


def _allowed_at_last(conn, receiver) -> None:
    send(conn, 1)
    wait_until(lambda: one(conn, "select health from qctl.health('orders')") == "address_refused")
    assert one(conn, "select fix from qctl.health('orders')") == "qctl set -q orders --allow-private"
    conn.execute("""select qctl.set_queue('orders', p_settings => '{"allow_networks": ["127.0.0.0/8"]}')""")
    wait_until(lambda: len(receiver.accepted()) == 1, 4, "delivery")
    wait_until(lambda: one(conn, "select health from qctl.health('orders')") == "ok")
    assert one(conn, "select count(*) from qctl.attempt where error like 'refused%%'") == 1


def test_settings_that_cannot_be_read_leave_a_refusal_an_answer(conn, dsn):
    """What came with it would not be settled otherwise."""
    create(conn, url="http://127.0.0.1:9/x", allow_networks=[])
    send(conn, 1)
    database = Database(dsn, "the test")
    session = WorkerSession(lambda within_s: connect_worker(database, within_s=within_s), lambda: math.inf)
    session.open()
    queues = QueueSet(
        session, AllCarriers(lambda: None, Egress()), None, None, allow_private=False, needs_arming=False, talk=print
    )
    queues.read()
    session.register(queues.names)
    (message,) = session.claim("orders", 1, 1000)
    (queue,) = queues
    request = Request("orders", queue.queue_id, message, clock(), clock() + 60, 10, allowed=queue.allowed)
    conn.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'qctl worker'")
    assert queues.is_outdated(queue, Answer(request, True, error="refused: 127.0.0.1 is not a public address")) is False
    session.close()
