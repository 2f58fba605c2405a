"""qctl worker --processes: several real processes under one parent, ended by real signals."""

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from helpers import create, one, send
from processes import wait_until


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def workers(conn) -> int:
    return one(conn, "select count(*) from qctl.worker where stopped_at is null")


@pytest.fixture
def supervisor(conn, worker):
    """Two processes that wait for messages."""
    process = worker("--all", "--processes", "2")
    wait_until(lambda: workers(conn) == 2, 15, "both are registered")
    return process


def test_they_share_a_queue_and_post_each_message_once(conn, endpoint, worker):
    receiver = endpoint()
    create(conn, url=receiver.url, concurrency=20, max_in_flight=400)
    send(conn, 2000)
    code, talk = worker("-q", "orders", "--drain", "--processes", "3").end()
    assert (code, talk) == (0, "")
    assert len(receiver.accepted()) == 2000
    assert set(receiver.accepted().values()) == {1}
    assert one(conn, "select count(*) from qctl.worker where stopped_at is not null") == 3
    assert one(conn, "select count(*) from qctl.in_flight") == 0


def test_sigterm_settles_what_is_in_flight_in_each_and_the_totals_are_theirs(conn, endpoint, supervisor):
    receiver = endpoint("--delay", "1")
    create(conn, url=receiver.url, concurrency=5)
    send(conn, 10)
    wait_until(lambda: one(conn, "select count(distinct worker_id) from qctl.in_flight") == 2, 10, "both have claimed")
    in_flight = one(conn, "select count(*) from qctl.in_flight")
    supervisor.send(signal.SIGTERM)
    code, talk = supervisor.end()
    assert code == 0, talk
    assert one(conn, "select count(*) from pgmq.a_orders") == in_flight
    assert f"{in_flight} delivered" in talk.splitlines()[-1]
    assert workers(conn) == 0


def test_when_one_is_killed_the_others_end_in_order_and_the_parent_says_so(conn, supervisor):
    killed, other = children(supervisor.pid)
    os.kill(killed, signal.SIGKILL)
    code, talk = supervisor.end()
    assert code == 9
    assert "worker process 1 was killed by SIGKILL" in talk
    assert "Traceback" not in talk
    assert not is_alive(other)
    assert workers(conn) == 1, "only the killed one did not sign off"


def test_when_the_parent_is_killed_its_children_end(conn, supervisor):
    left = children(supervisor.pid)
    assert len(left) == 2
    supervisor.send(signal.SIGKILL)
    wait_until(lambda: not any(is_alive(child) for child in left), 10, "children without a parent end")
    wait_until(lambda: workers(conn) == 0, 5, "and sign off")


def test_an_error_of_one_is_the_error_of_all(worker):
    code, talk = worker("-q", "nosuch", "--processes", "2").end()
    assert code == 6
    assert "Error: queue 'nosuch' not found" in talk
    assert "Traceback" not in talk


def test_health_is_that_of_all(conn, endpoint, worker):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = worker("--all", "--processes", "2", "--health", str(port))

    def status(page: str) -> int:
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=5).status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    wait_until(lambda: status("ready") == 200, 15, "ready")
    assert status("live") == 200
    receiver = endpoint("--delay", "3")
    create(conn, url=receiver.url)
    send(conn)
    wait_until(lambda: one(conn, "select count(*) from qctl.in_flight") == 1, 10, "one of them has work")
    process.send(signal.SIGTERM)
    wait_until(lambda: status("ready") == 503, 5, "a supervisor that ends is not ready, and answers")
    assert process.end()[0] == 0
    assert one(conn, "select count(*) from pgmq.a_orders") == 1


@pytest.mark.parametrize("where", ["taken", "nonsense"])
def test_without_its_health_port_it_ends_at_once_and_leaves_no_child(conn, worker, where):
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        process = worker(
            "--all", "--processes", "2", "--health", str(taken.getsockname()[1]) if where == "taken" else where
        )
        code, talk = process.end(15)
    assert code == 2, talk
    assert "Traceback" not in talk
    assert workers(conn) == 0


_KILLED_AT_FORK = """
import multiprocessing.util, os, time
from qctl.worker.supervisor import Supervisor
from qctl.worker.loop import wake_pipe

class Idle:
    wake_fd = wake_pipe()[1]
    stopped = False
    def alive(self): return True
    ready = alive
    def stop(self): self.stopped = True

def work(number, hold):
    idle = Idle()
    hold(idle)
    while not idle.stopped:
        time.sleep(0.05)

# The child begins a second after it was made.
late = lambda: None
multiprocessing.util.register_after_fork(late, lambda _: time.sleep(1))
supervisor = Supervisor(1, work, print)
supervisor.start()
print(supervisor._children[0].process.pid, flush=True)
supervisor.run()
"""


def test_a_child_that_was_just_made_ends_too_when_its_parent_is_killed():
    parent = subprocess.Popen([sys.executable, "-c", _KILLED_AT_FORK], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    try:
        parent.kill()
        parent.wait()
        wait_until(lambda: not is_alive(child), 5, "the child ends")
    finally:
        if is_alive(child):
            os.kill(child, signal.SIGKILL)
        parent.stdout.close()
