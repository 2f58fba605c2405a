"""Workers that are gone after the test."""

from collections.abc import Callable, Iterator

import pytest

from processes import WorkerProcess


@pytest.fixture
def worker(dsn) -> Iterator[Callable[..., WorkerProcess]]:
    started: list[WorkerProcess] = []

    def start(*arguments: str, at: str = dsn) -> WorkerProcess:
        started.append(WorkerProcess(at, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.close()
