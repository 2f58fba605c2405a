"""Brokers for tests; each process of pytest has its own, from the first test that needs one to its end."""

from collections.abc import Callable, Iterator

import pytest
from far import FARS, Far, missing


@pytest.fixture(scope="session")
def _fars(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Far]]:
    started: dict[str, Far] = {}

    def get(name: str) -> Far:
        if why := missing(name):
            pytest.skip(why)
        if name not in started:
            started[name] = FARS[name](tmp_path_factory.mktemp(name))
        return started[name]

    yield get
    for far in started.values():
        far.close()


@pytest.fixture
def far(request: pytest.FixtureRequest, _fars: Callable[[str], Far]) -> Far:
    """A broker that runs, with an empty destination; by the parameter of the test."""
    found = _fars(request.param)
    found.clear()
    return found


@pytest.fixture
def own_far(request: pytest.FixtureRequest, tmp_path) -> Iterator[Far]:
    """A broker of the test's own, which it may kill or spoil."""
    if why := missing(request.param):
        pytest.skip(why)
    made = FARS[request.param](tmp_path / "broker")
    if request.param == "rabbitmq":
        # RabbitMQ 3.10 writes down late that there is a quorum queue; killed before that, it never confirms.
        made.broker.stop()
        made.broker.start()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that workers find in their environment, as the chain of AWS has them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
