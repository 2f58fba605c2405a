"""A day in minutes: the server's clock is moved by libfaketime, our tables never are.

The endpoints have outages, refuse credentials or ask to wait; rates and the order of messages change; workers die with leases;
summer time begins; the clock is set back by two hours. In each step of 30 s the ready queues are claimed and settled, and once a
minute the maintenance runs, as a worker and pg_cron would. ``QCTL_TEST_CHAOS=1`` runs 24 hours with 50 queues, otherwise 2 hours
with 6.
"""

import contextlib
import os
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb

from helpers import claim, one, settle
from qctl import db
from qctl.config import Database
from qctl.operations import migrate
from servers import DebianServer, debian_binaries

LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
LONG = bool(os.environ.get("QCTL_TEST_CHAOS"))
HOURS, QUEUES = (24, 50) if LONG else (2, 6)
STEP_S = 30
STEPS = HOURS * 3600 // STEP_S
# Clocks go forward in Berlin at 01:00 UTC.
BEGIN = datetime(2027, 3, 27, 23, 30, tzinfo=UTC)
SET_BACK_AT, SET_BACK_BY = STEPS // 2, timedelta(hours=2)
ANSWERS = {"down": (None, "connection refused"), "broken": (500, None), "denied": (401, None), "busy": (429, None)}
# The longest pause of the breaker and of a retry that counts, with room for a step or two: from then on a queue with work moves.
PATIENCE_STEPS = 900 // STEP_S
# Rows at most, whatever happens: of a queue, of all queues, of a message.
BOUNDS = {
    "qctl.throughput": lambda day: len(day.queues) * (HOURS * 60 + 180),
    "qctl.worker": lambda _: 1100,
    "qctl.audit": lambda _: 100_000,
    "qctl.capture_error": lambda _: 10_000,
    "qctl.upkeep_step": lambda _: 20,
    "qctl.sample": lambda day: len(day.queues) * (24 * 60 + 180),
    "qctl.event_last": lambda day: len(day.queues) * 20,
    "qctl.in_flight": lambda day: sum(queue.claimed for queue in day.queues),
    "qctl.dedup": lambda day: sum(queue.sent for queue in day.queues),
    "qctl.retry": lambda day: sum(queue.sent for queue in day.queues),
}


class MovedServer(DebianServer):
    """A server whose clock is the real one and an offset, which may change while it runs."""

    def __init__(self) -> None:
        super().__init__(shared_preload_libraries="''", synchronous_commit="off")
        self._offset = self.folder / "offset"
        self.behind = BEGIN - datetime.now(UTC)
        self.move(timedelta())

    def move(self, by: timedelta) -> None:
        """Puts the clock forward or back."""
        self.behind += by
        other = self._offset.with_suffix(".new")
        other.write_text(f"{self.behind.total_seconds():+.0f}\n")
        other.chmod(0o644)
        other.rename(self._offset)

    def start(self) -> None:
        settings = {
            "LD_PRELOAD": LIBRARY,
            "FAKETIME_TIMESTAMP_FILE": self._offset,
            "FAKETIME_NO_CACHE": 1,
            "FAKETIME_DONT_FAKE_MONOTONIC": 1,
        }
        log, program = self.folder / "log", debian_binaries() / "pg_ctl"
        values = [f"{name}={value}" for name, value in settings.items()]
        self._run("env", *values, str(program), "-D", str(self.data), "-w", "-l", str(log), "start")


@dataclass
class Queue:
    """A queue, its endpoint, and what it has seen."""

    name: str
    ordered: bool
    troubles: list[tuple[int, int, str]]
    sent: int = 0
    claimed: int = 0
    accepted: Counter = field(default_factory=Counter)
    was_ordered: bool = False
    moved_at: int = 0
    delayed_since: int = 0
    well_since: int = 0

    def trouble(self, step: int) -> str | None:
        """What is wrong with the endpoint."""
        return next((kind for begin, end, kind in self.troubles if begin <= step < end), None)


class Day:
    """All queues on a moved server."""

    def __init__(self, server: MovedServer, conn: psycopg.Connection, chance: random.Random) -> None:
        self.server = server
        self.conn = conn
        self.chance = chance
        self.queues = [self._queue(number) for number in range(QUEUES)]

    def _queue(self, number: int) -> Queue:
        troubles = []
        at = self.chance.randrange(STEPS // 8)
        while at < STEPS * 0.8:
            until = at + self.chance.randrange(2, max(STEPS // 8, 4))
            troubles.append((at, until, self.chance.choice(list(ANSWERS))))
            at = until + self.chance.randrange(STEPS // 8, STEPS // 3)
        queue = Queue(f"q{number}", number % 3 == 0, troubles, was_ordered=number % 3 == 0)
        settings = {"transport": "http", "ordered": queue.ordered, "allow_networks": ["127.0.0.0/8"]}
        if number % 4 == 1:
            settings["rate_per_s"] = self.chance.choice([0.1, 1, 100])
        if number % 4 == 2:
            settings["retention_s"] = 3600
        self.conn.execute(
            "select qctl.create_queue(%s, %s, p_settings => %s)", (queue.name, "http://127.0.0.1:9/", Jsonb(settings))
        )
        return queue

    def send(self, queue: Queue) -> None:
        """A few messages, with an order key where the queue is ordered."""
        for _ in range(self.chance.randrange(4)):
            key = str(self.chance.randrange(3)) if queue.ordered else None
            body = [Jsonb({"n": queue.sent})]
            self.conn.execute("select qctl.send(%s, %s, p_order_key => %s)", (queue.name, body, key))
            queue.sent += 1

    def change(self, queue: Queue) -> None:
        """Another rate or order, as a person would, now and then."""
        if self.chance.random() < 0.004 and queue.name.endswith(("1", "5", "9")):
            rate = self.chance.choice([0.001, 0.1, 10, 100])
            self.conn.execute("select qctl.set_queue(%s, p_settings => %s)", (queue.name, Jsonb({"rate_per_s": rate})))
            if rate < 0.1:
                # One message in a thousand seconds counts as standing still, so it does not last.
                queue.claimed += len(claim(self.conn, 1, queue.name))
                self.conn.execute(
                    "select qctl.set_queue(%s, p_settings => %s)", (queue.name, Jsonb({"rate_per_s": 100}))
                )
        if self.chance.random() < 0.002:
            queue.ordered = not queue.ordered
            queue.was_ordered = True
            self.conn.execute(
                "select qctl.set_queue(%s, p_settings => %s)", (queue.name, Jsonb({"ordered": queue.ordered}))
            )

    def deliver(self, queue: Queue, step: int) -> None:
        """A few rounds of claim and settle, as many as a worker has time for; now and then one dies with what it claimed."""
        for _ in range(5):
            claimed = claim(self.conn, 20, queue.name)
            if not claimed:
                return
            queue.claimed += len(claimed)
            queue.moved_at = step
            if self.chance.random() < 0.02:
                continue
            trouble = queue.trouble(step)
            if trouble is None:
                queue.accepted.update(message.msg_id for message in claimed)
                settle(self.conn, claimed, 200, name=queue.name)
            else:
                status, error = ANSWERS[trouble]
                wait_s = 40 if trouble == "busy" else None
                settle(self.conn, claimed, status, error=error, retry_after=wait_s, name=queue.name)

    def step(self, step: int) -> None:
        """Half a minute."""
        self.server.move(timedelta(seconds=STEP_S))
        if step == SET_BACK_AT:
            self.server.move(-SET_BACK_BY)
        if step < STEPS * 0.9:
            for queue in self.queues:
                self.change(queue)
                self.send(queue)
        if step % 20 == 0:
            self.conn.execute("select qctl.register_worker(%s, 'http', '{}', '0')", (f"w{step}",))
        by_name = {queue.name: queue for queue in self.queues}
        ready = {row[0] for row in self.conn.execute("select qctl.ready_queues(%s)", (list(by_name),))}
        # So that each queue holds messages from before when the clock is set back.
        if not SET_BACK_AT - 3 <= step <= SET_BACK_AT:
            for name in sorted(ready):
                self.deliver(by_name[name], step)
        if step % 2 == 0:
            self.conn.execute("call qctl.maintenance('2 s')")
        self._look(step)

    def _look(self, step: int) -> None:
        query = "select queue_name, ready, delayed from qctl.depth()"
        depths = self.conn.execute(query).fetchall() if step % 10 == 0 else []
        waiting = {name for name, ready, _ in depths if ready}
        # Nothing is delayed on purpose; followers of an ordered queue are hidden.
        delayed = {name for name, _, delayed in depths if delayed}
        for queue in self.queues:
            if depths:
                is_delayed = queue.name in delayed and not queue.was_ordered
                queue.delayed_since = (queue.delayed_since or step) if is_delayed else 0
                assert not queue.delayed_since or step - queue.delayed_since < PATIENCE_STEPS, (
                    f"{queue.name} is delayed"
                )
            if queue.trouble(step) or SET_BACK_AT <= step < SET_BACK_AT + 10:
                queue.well_since = step
            elif queue.name in waiting:
                stands = step - max(queue.well_since, queue.moved_at)
                assert stands < PATIENCE_STEPS, (
                    f"{queue.name} stands still since step {step - stands}: {self._state(queue)}"
                )
        if step % 120 == 0:
            for table, bound in BOUNDS.items():
                assert one(self.conn, f"select count(*) from {table}") <= bound(self), table
            failed = self.conn.execute(
                "select step, error from qctl.upkeep_step where failed_since is not null"
            ).fetchall()
            assert failed == []

    def _state(self, queue: Queue) -> object:
        gate = "select clock_timestamp(), row_to_json(g) from qctl.gate g join qctl.queue q using (queue_id)"
        return self.conn.execute(f"{gate} where queue_name = %s", (queue.name,)).fetchone()


@pytest.mark.skipif(LIBRARY is None or debian_binaries() is None, reason="no libfaketime here: scripts/debian_parts.sh")
@pytest.mark.timeout(7200 if LONG else 600)
def test_a_day_leaves_nothing_standing_and_nothing_growing():
    seed = int(os.environ.get("QCTL_TEST_SEED", "1"))
    server = MovedServer()
    server.start()
    with contextlib.ExitStack() as stack:
        stack.callback(server.close)
        with db.connect(Database(server.uri(), "day"), application="day") as connection:
            migrate.apply(connection)
            connection.execute("select qctl.arm()")
            connection.execute("alter database postgres set timezone = 'Europe/Berlin'")
        conn = stack.enter_context(psycopg.connect(server.uri(), autocommit=True))
        day = Day(server, conn, random.Random(seed))
        assert abs(one(day.conn, "select clock_timestamp()") - BEGIN) < timedelta(minutes=5)
        for step in range(STEPS):
            day.step(step)
        # Everything is well again; what waits for its schedule is given more than two days.
        for queue in day.queues:
            queue.troubles.clear()
            day.conn.execute("select qctl.set_queue(%s, p_settings => '{\"rate_per_s\": null}')", (queue.name,))
        for step in range(STEPS, STEPS + 800):
            server.move(timedelta(minutes=45))
            day.step(step)
            # An ordered queue with a long backlog takes longer: a step delivers a few messages of each key.
            if step > STEPS + 80 and one(conn, "select sum(depth) from qctl.depth()") == 0:
                break
        for queue in day.queues:
            dead = {row[0] for row in day.conn.execute("select msg_id from qctl.dead_letter d join qctl.queue q"
                                                       " using (queue_id) where queue_name = %s", (queue.name,))}  # fmt: skip
            assert one(day.conn, f"select count(*) from pgmq.q_{queue.name}") == 0
            assert set(queue.accepted) | dead == set(range(1, queue.sent + 1))
            assert dead.isdisjoint(queue.accepted)
            # A message is accepted once; a worker that died had not sent anything.
            assert set(queue.accepted.values()) == {1}
