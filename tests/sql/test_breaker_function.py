"""The breaker as a function of its state and the answers: every state with every answer, and long histories beside a model."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.json import Jsonb

from helpers import create

NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
LONGEST_S = 10

CLOSED = {"failures": 0}
STATES = {
    "closed": CLOSED,
    "some failed": {"failures": 9, "failing_since": NOW - timedelta(seconds=50), "window_at": NOW - timedelta(seconds=10),
                    "window_answers": 19, "window_failures": 13},
    "window of before": {"failures": 0, "window_at": NOW - timedelta(seconds=31), "window_answers": 500, "window_failures": 400},
    "window of a clock that was ahead": {"window_at": NOW + timedelta(days=1), "window_answers": 500, "window_failures": 499},
    "slow start": {"slow_limit": 10, "recall_after": 500, "recall_since": NOW - timedelta(hours=1)},
    "open": {"opened_at": NOW - timedelta(minutes=1), "open_reason": "HTTP 500", "pauses": 0,
             "probe_at": NOW + timedelta(seconds=1)},
    "probing": {"opened_at": NOW - timedelta(minutes=9), "open_reason": "HTTP 500", "pauses": 40, "probe_at": NOW,
                "probe_lease": "00000000-0000-0000-0000-000000000001", "probe_ends": NOW + timedelta(seconds=45)},
}  # fmt: skip
ANSWERS = {
    "alive": {"alive": 1}, "many alive": {"alive": 500}, "outage": {"outages": 1, "error": "HTTP 500"},
    "many outages": {"outages": 100, "error": "timeout"}, "denied": {"denied": 1, "error": "HTTP 401"},
    "all denied": {"denied": 10, "error": "HTTP 403"}, "denied among alive": {"alive": 1, "denied": 100, "error": "HTTP 401"},
    "nothing": {}, "probe alive": {"alive": 1, "probe": "alive"},
    "probe outage": {"outages": 1, "probe": "outage", "error": "HTTP 502"},
    "probe says nothing": {"probe": "nothing"}, "probe wants an hour": {"outages": 1, "probe": "outage", "retry_after_s": 3600},
    "probe among alive": {"alive": 7, "outages": 1, "probe": "outage", "error": "HTTP 502"},
}  # fmt: skip


@pytest.fixture(scope="module")
def queue(shared_dsn) -> Iterator[psycopg.Connection]:
    with psycopg.connect(shared_dsn, autocommit=True) as conn:
        create(conn, max_in_flight=100)
        yield conn


@pytest.fixture
def after(queue):
    """Calls the function with parts of a gate and parts of the counts; the gate after them, as a dictionary."""
    conn = queue
    info = CompositeInfo.fetch(conn, "qctl.answer_counts")
    register_composite(info, conn)
    columns = [c.name for c in conn.execute("select * from qctl.gate").description]

    def call(state: dict, answers: dict, now: datetime = NOW, spread: float = 0.5) -> dict:
        counts = {**dict.fromkeys(info.field_names), "alive": 0, "outages": 0, "denied": 0, **answers}
        row = conn.execute(
            "select n.* from qctl.queue q join qctl.gate g using (queue_id)"
            " cross join qctl._breaker_next(q, jsonb_populate_record(g, %s), %s, %s, %s) n",
            [_as_json(state), info.python_type(**counts), now, spread],
        ).fetchone()
        return dict(zip(columns, row, strict=True))

    return call


def _as_json(state: dict) -> Jsonb:
    return Jsonb({key: value.isoformat() if isinstance(value, datetime) else value for key, value in state.items()})


@pytest.mark.parametrize("answers", ANSWERS)
@pytest.mark.parametrize("state", STATES)
def test_every_state_with_every_answer(after, state, answers):
    before, got = STATES[state], ANSWERS[answers]
    gate = after(before, got)
    was_open, is_open = "opened_at" in before, gate["opened_at"] is not None
    probe = got.get("probe")
    if was_open:
        # Only a probe closes it, and only one that the endpoint answered.
        assert is_open == (probe != "alive")
        if is_open and probe:
            assert gate["probe_lease"] is None
            assert gate["probe_ends"] is None
            wait_s = (gate["probe_at"] - NOW).total_seconds()
            assert (
                wait_s == 0
                if probe == "nothing"
                else 0 < wait_s <= (600 if "retry_after_s" in got else LONGEST_S * 1.1)
            )
            assert gate["pauses"] == before["pauses"] + (probe == "outage")
        elif is_open:
            assert gate["probe_at"] == before["probe_at"]
        else:
            assert (gate["failures"], gate["pauses"], gate["probe_at"], gate["window_at"]) == (0, 0, None, None)
            assert (gate["recall_after"], gate["slow_limit"]) == (0, 10)
        return
    failed = got.get("outages", 0) + (got.get("denied", 0) if not got.get("alive") else 0)
    row = 0 if got.get("alive") else before.get("failures", 0) + failed
    in_window = state == "some failed"
    answered = (before["window_answers"] if in_window else 0) + got.get("alive", 0) + got.get("outages", 0)
    outages = (before["window_failures"] if in_window else 0) + got.get("outages", 0)
    opens = failed > 0 and (row >= 10 or (answered >= 20 and outages >= 0.7 * answered))
    assert is_open == opens
    if is_open:
        assert gate["probe_at"] > NOW
        assert gate["slow_limit"] is None
        assert gate["open_reason"].endswith(": " + got["error"]) if "error" in got else True
    else:
        assert gate["failures"] == row
        assert gate["probe_at"] is None
        if "slow_limit" in before:
            assert gate["slow_limit"] == (
                before["slow_limit"] + got.get("alive", 0) if got.get("alive", 0) < 90 else None
            )


@pytest.mark.parametrize("seed", range(4))
def test_it_follows_the_endpoint_through_long_histories(after, seed):
    """The endpoint is up, down, or not asked at random. The breaker is never open for longer than its longest pause after the
    endpoint came back, never closes by a probe that says nothing, and opens within ten failures in a row."""
    rng = random.Random(seed)
    now, gate = NOW, dict(CLOSED)
    up, up_since, failures_in_a_row = True, NOW, 0
    for _ in range(600):
        if rng.random() < 0.03:
            up, up_since, failures_in_a_row = not up, now, 0 if not up else failures_in_a_row
        is_open = gate.get("opened_at") is not None
        if is_open:
            if now < gate["probe_at"]:
                now = min(gate["probe_at"], now + timedelta(seconds=rng.uniform(0.1, 5)))
                continue
            kind = "nothing" if rng.random() < 0.2 else "alive" if up else "outage"
            got = {
                "probe": kind,
                **({"alive": 1} if kind == "alive" else {"outages": 1, "error": "down"} if kind == "outage" else {}),
            }
        else:
            count = rng.choice((1, 1, 1, 5, 50))
            got = {} if rng.random() < 0.1 else {"alive": count} if up else {"outages": count, "error": "down"}
        after_it = after({k: v for k, v in gate.items() if v is not None and k != "queue_id"}, got, now, rng.random())
        if is_open and got.get("probe") == "nothing":
            assert after_it["opened_at"] is not None
        if is_open and got.get("probe") == "alive":
            assert after_it["opened_at"] is None
        failures_in_a_row = 0 if got.get("alive") else failures_in_a_row + got.get("outages", 0)
        assert after_it["opened_at"] is not None or failures_in_a_row < 10
        if after_it["opened_at"] is not None and up:
            assert now - up_since <= timedelta(seconds=LONGEST_S * 1.1 + 6)
        gate = after_it
        now += timedelta(seconds=rng.uniform(0, 2))
