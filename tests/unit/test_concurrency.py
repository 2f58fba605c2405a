"""The concurrency limit against modelled endpoints: as many at once as bring work done, and hardly more."""

import random

import pytest

from qctl.worker.concurrency import ConcurrencyLimit


class Model:
    """An endpoint of so many places, each of which takes a while; more requests than places wait in line.

    A simulation in turns of one request each: with ``n`` under way an answer takes as long as its place, and its line, need.
    """

    def __init__(self, places: int, service_ms: float, jitter: float, seed: int) -> None:
        self.places, self.service_ms, self.jitter = places, service_ms, jitter
        self.now = 0.0
        self.random = random.Random(seed)

    def latency_ms(self, at_once: int) -> float:
        queued = max(1.0, at_once / self.places)
        return self.service_ms * queued * self.random.uniform(1 - self.jitter, 1 + self.jitter)

    def run(self, concurrency: ConcurrencyLimit, answers: int) -> None:
        for _ in range(answers):
            latency = self.latency_ms(concurrency.at_once)
            self.now += latency / 1000 / concurrency.at_once
            concurrency.note(200, latency, concurrency.at_once)


def tuned(
    places: int, service_ms: float = 20, jitter: float = 0.2, seed: int = 1, answers: int = 20_000
) -> tuple[Model, ConcurrencyLimit]:
    model = Model(places, service_ms, jitter, seed)
    concurrency = ConcurrencyLimit(1000, clock=lambda: model.now)
    model.run(concurrency, answers)
    return model, concurrency


@pytest.mark.parametrize("places", [1, 2, 4, 8, 32, 100])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_finds_the_places_of_an_endpoint(places, seed):
    _, concurrency = tuned(places, seed=seed)
    assert places * 0.95 <= concurrency.limit + 0.5
    assert concurrency.limit <= places * 1.9 + 1.5


def test_it_follows_an_endpoint_that_becomes_smaller_and_larger():
    model, concurrency = tuned(50)
    model.places = 5
    model.run(concurrency, 10_000)
    assert concurrency.limit < 12
    model.places = 50
    model.run(concurrency, 20_000)
    assert concurrency.limit > 47


def test_it_follows_an_endpoint_that_becomes_slower_by_itself():
    model, concurrency = tuned(20, service_ms=20)
    model.service_ms = 200
    model.run(concurrency, 30_000)
    assert 15 < concurrency.limit < 40


def test_failures_halve_it_soon_and_once_a_window():
    _, concurrency = tuned(50)
    before = concurrency.limit
    for _ in range(5):
        concurrency.note(503, 5, concurrency.at_once)
    assert before * 0.6 < concurrency.limit < before * 0.8


def test_little_traffic_says_nothing():
    _, concurrency = tuned(50)
    before = concurrency.limit
    for _ in range(1000):
        concurrency.note(200, 20, 1)
    assert concurrency.limit == before


def test_never_above_the_most():
    model = Model(1000, 20, 0.1, 1)
    concurrency = ConcurrencyLimit(7, clock=lambda: model.now)
    model.run(concurrency, 5000)
    assert concurrency.at_once == 7
