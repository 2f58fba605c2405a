"""Kill -9 of a PostgreSQL backend under the jobs: nothing lost, nothing falsely delivered."""

import pytest

from helpers import create, one, send
from processes import wait_until
from servers import is_up

COUNT = 3000


@pytest.mark.timeout(480)
def test_three_crashes_in_the_middle_of_3000_messages(sites, endpoint):
    receiver = endpoint("--fail-rate", "0.3", "--failures", "500,429,reset,200-slow")
    site = sites()
    with site.connect() as conn:
        create(conn, url=receiver.url, retry_schedule_s=[1, 1, 2, 2, 3, 3], timeout_ms=4000)
        ids = send(conn, COUNT)
    for crash in (1, 2, 3):
        wait_until(lambda n=crash: len(receiver.accepted()) > n * COUNT // 5, 120, f"enough before crash {crash}")
        site.server.kill_a_backend()
    wait_until(lambda: is_up(site.dsn), 60, "recovery")

    def finished() -> bool:
        with site.connect() as conn:
            return one(conn, "select count(*) from pgmq.q_orders") == 0

    wait_until(finished, 150, "an empty queue")
    accepted = receiver.accepted()
    with site.connect() as conn:
        delivered = {row[0] for row in conn.execute(
            "select qctl.webhook_id(q.queue_uuid, a.msg_id, a.enqueued_at) from pgmq.a_orders a, qctl.queue q")}  # fmt: skip
        dead = {row[0] for row in conn.execute("select msg_id from qctl.dead_letter where attempts >= 7 or lost > 10")}
        assert one(conn, "select count(*) from qctl.dead_letter") == len(dead)
        epochs = one(conn, "select count(distinct epoch) from qctl.in_flight") or 0
        lost = one(conn, "select count(*) from qctl.in_flight where lapsed_at is not null")
    assert len(delivered) + len(dead) == len(ids)
    assert delivered <= set(accepted)
    duplicates = sum(accepted.values()) - len(accepted)
    print(
        f"{len(delivered)} delivered, {len(dead)} dead, {duplicates} duplicates, {lost} lost attempts in {epochs} epochs"
    )
    assert lost > 0
    assert duplicates <= lost
