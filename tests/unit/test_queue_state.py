"""How much a worker process holds of a queue."""

import pytest

from qctl.worker.queue_state import QueueState


@pytest.mark.parametrize(
    ("concurrency", "max_in_flight", "rate", "holds"),
    [
        pytest.param(10, 1000, 0.0, 10, id="nothing ahead before a rate is known"),
        pytest.param(10, 1000, 20.0, 15, id="what starts within a quarter of a second"),
        pytest.param(10, 1000, 10_000.0, 260, id="few at once, fast: a quarter of what may be in flight"),
        pytest.param(100, 1000, 10_000.0, 500, id="many at once, fast: four times as many"),
        pytest.param(100, 300, 10_000.0, 300, id="never more than may be in flight"),
        pytest.param(1, 3, 10_000.0, 3, id="hardly any may be in flight"),
    ],
)
def test_capacity(concurrency, max_in_flight, rate, holds):
    assert QueueState("q", 1, concurrency, max_in_flight, rate=rate).capacity == holds
