"""Endpoints and workers that are gone after the test."""

from collections.abc import Callable, Iterator

import pytest

from processes import Endpoint, WorkerProcess


@pytest.fixture
def endpoint(tmp_path) -> Iterator[Callable[..., Endpoint]]:
    started: list[Endpoint] = []

    def start(*options: str) -> Endpoint:
        started.append(Endpoint(tmp_path, *options))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def worker(dsn) -> Iterator[Callable[..., WorkerProcess]]:
    started: list[WorkerProcess] = []

    def start(*arguments: str, at: str = dsn) -> WorkerProcess:
        started.append(WorkerProcess(at, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.close()
