"""The tuner against modelled endpoints: as many at once as bring work done, and hardly more."""

import random

import pytest

from qctl.worker.tuner import Tuner


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

    def run(self, tuner: Tuner, answers: int) -> None:
        for _ in range(answers):
            latency = self.latency_ms(tuner.at_once)
            self.now += latency / 1000 / tuner.at_once
            tuner.note(200, latency, tuner.at_once)


def tuned(
    places: int, service_ms: float = 20, jitter: float = 0.2, seed: int = 1, answers: int = 20_000
) -> tuple[Model, Tuner]:
    model = Model(places, service_ms, jitter, seed)
    tuner = Tuner(1000, clock=lambda: model.now)
    model.run(tuner, answers)
    return model, tuner


@pytest.mark.parametrize("places", [1, 2, 4, 8, 32, 100])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_finds_the_places_of_an_endpoint(places, seed):
    _, tuner = tuned(places, seed=seed)
    assert places * 0.95 <= tuner.limit + 0.5
    assert tuner.limit <= places * 1.9 + 1.5


def test_it_follows_an_endpoint_that_becomes_smaller_and_larger():
    model, tuner = tuned(50)
    model.places = 5
    model.run(tuner, 10_000)
    assert tuner.limit < 12
    model.places = 50
    model.run(tuner, 20_000)
    assert tuner.limit > 47


def test_it_follows_an_endpoint_that_becomes_slower_by_itself():
    model, tuner = tuned(20, service_ms=20)
    model.service_ms = 200
    model.run(tuner, 30_000)
    assert 15 < tuner.limit < 40


def test_failures_halve_it_soon_and_once_a_window():
    _, tuner = tuned(50)
    before = tuner.limit
    for _ in range(5):
        tuner.note(503, 5, tuner.at_once)
    assert before * 0.6 < tuner.limit < before * 0.8


def test_little_traffic_says_nothing():
    _, tuner = tuned(50)
    before = tuner.limit
    for _ in range(1000):
        tuner.note(200, 20, 1)
    assert tuner.limit == before


def test_never_above_the_most():
    model = Model(1000, 20, 0.1, 1)
    tuner = Tuner(7, clock=lambda: model.now)
    model.run(tuner, 5000)
    assert tuner.at_once == 7
