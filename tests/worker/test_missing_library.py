"""A worker without the library of a broker: it leaves out that queue and says what to install, and the others go on."""

import math
from collections.abc import Callable, Iterator

import pytest

from helpers import create
from qctl.config import Database
from qctl.db import connect_worker
from qctl.errors import ExitCode, QctlError
from qctl.worker import carriers
from qctl.worker.carriers.all_carriers import AllCarriers
from qctl.worker.queue_set import QueueSet
from qctl.worker.request import Egress
from qctl.worker.session import WorkerSession

BROKER = "redis://127.0.0.1/orders"


@pytest.fixture
def worker_of(dsn, monkeypatch) -> Iterator[Callable[..., tuple[QueueSet, WorkerSession, list[str]]]]:
    """The queues of a worker that has HTTP only, its session, and what it says."""
    monkeypatch.setattr(carriers, "available", lambda: ["http"])
    sessions: list[WorkerSession] = []

    def make(names: list[str] | None) -> tuple[QueueSet, WorkerSession, list[str]]:
        said: list[str] = []
        session = WorkerSession(
            lambda within_s: connect_worker(Database(dsn, "the test"), within_s=within_s), lambda: math.inf
        )
        sessions.append(session)
        session.open()
        sender = AllCarriers(lambda: None, Egress())
        queues = QueueSet(session, sender, names, None, allow_private=True, needs_arming=False, talk=said.append)
        return queues, session, said

    yield make
    for session in sessions:
        session.close()


def test_asked_for_by_name_it_ends_with_what_to_install(conn, worker_of):
    create(conn, url=BROKER)
    queues, _, _ = worker_of(["orders"])
    with pytest.raises(QctlError, match="hands over to redis, whose library is not installed here") as refused:
        queues.read()
    assert (refused.value.code, refused.value.hint) == (ExitCode.SERVER_UNFIT, "pip install 'qctl[redis]'")


def test_of_all_queues_it_is_left_out_and_that_is_said_once(conn, worker_of):
    create(conn, url=BROKER)
    create(conn, name="plain")
    queues, _, said = worker_of(None)
    queues.read()
    queues.read()
    assert queues.names == ["plain"]
    assert [line for line in said if "pip install 'qctl[redis]'" in line] == said
    assert len(said) == 1


def test_a_queue_that_moves_to_a_broker_ends_neither_the_worker_nor_what_is_under_way(conn, worker_of):
    create(conn)
    create(conn, name="plain")
    queues, session, said = worker_of(["orders", "plain"])
    queues.read()
    session.register(queues.names)
    (orders,) = (queue for queue in queues if queue.name == "orders")
    orders.outstanding = 1
    conn.execute("select qctl.set_queue('orders', %s)", (BROKER,))
    queues.read()
    assert orders.leaving and queues.find("orders", orders.queue_id) is orders, "its answer is still to come"
    orders.outstanding = 0
    queues.read()
    assert queues.names == ["plain"]
    assert "queue orders has moved to redis; no longer working on it" in said
