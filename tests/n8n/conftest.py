"""One n8n for the session, with a database of its own; only where ``make test-n8n`` asks for it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import n8n_process
import psycopg
import pytest
from n8n_process import N8n

from servers import Server

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Starting n8n takes longer than most tests, so the ordinary ``make test`` leaves these out."""
    if os.environ.get("QCTL_TEST_N8N"):
        return
    for item in items:
        if item.path.is_relative_to(_HERE):
            item.add_marker(pytest.mark.skip(reason="n8n: make test-n8n"))


@contextmanager
def _running(server: Server, folder: Path, **variables: str) -> Iterator[N8n]:
    """An n8n with a database of its own; skips where n8n is not installed."""
    if reason := n8n_process.missing():
        pytest.skip(reason)
    name = f"n8n_{os.getpid()}_{uuid4().hex[:8]}"
    with psycopg.connect(server.uri(), autocommit=True) as admin:
        admin.execute(f'create database "{name}" template template0')
    started = N8n(folder, server.uri(name), **variables)
    yield started
    started.close()
    with psycopg.connect(server.uri(), autocommit=True) as admin:
        admin.execute(f'drop database "{name}" with (force)')


@pytest.fixture(scope="session")
def n8n(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[N8n]:
    """The one that all tests share."""
    with _running(server, tmp_path_factory.mktemp("n8n")) as shared:
        yield shared


@pytest.fixture
def mortal(server: Server, tmp_path: Path) -> Iterator[N8n]:
    """One that a test may stop."""
    with _running(server, tmp_path) as own:
        yield own


@pytest.fixture
def allowing_crypto(server: Server, tmp_path: Path) -> Iterator[N8n]:
    """One whose Code nodes may require Node's crypto."""
    with _running(server, tmp_path, NODE_FUNCTION_ALLOW_BUILTIN="crypto") as other:
        yield other
