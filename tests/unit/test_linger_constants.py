"""How long a worker waits stands in Python, in TypeScript and in the plan: the same everywhere."""

import re
from pathlib import Path

from qctl.worker import queue_state

TOP = Path(__file__).parents[2]


def test_both_workers_and_the_plan_wait_equally_long():
    edge = (TOP / "src/qctl/edge/queue.ts").read_text()
    plan = (TOP / "sql/routines/observe/plan.sql").read_text()
    python = (queue_state.LINGER_MESSAGES, queue_state.LINGER_FROM_PER_S, queue_state.LONGEST_LINGER_S)
    names = ("LINGER_MESSAGES", "LINGER_FROM_PER_S", "LONGEST_LINGER_MS")
    messages, per_s, longest_ms = (float(re.search(rf"const {name} = (\d+);", edge)[1]) for name in names)
    assert (messages, per_s, longest_ms / 1000) == python
    broker = (queue_state.BROKER_LINGER_MESSAGES, queue_state.BROKER_LINGER_S)
    names = ("c_broker_messages", "c_broker_linger_s")
    assert (
        tuple(float(re.search(rf"{name} constant double precision := ([\d.]+);", plan)[1]) for name in names) == broker
    )
    names = ("c_linger_messages", "c_linger_from_per_s", "c_linger_s")
    assert (
        tuple(float(re.search(rf"{name} constant double precision := ([\d.]+);", plan)[1]) for name in names) == python
    )
