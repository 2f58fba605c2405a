"""The edge worker passes the tests of ``qctl worker`` in tests/conforming.py: all of them by ``make test-edge``."""

import signal

import pytest
from isolate import WHOLE

from conforming import conforming

# Of every `make test`.
_SMOKE = {
    "test_drain_delivers_everything_and_ends",
    "test_the_body_is_what_postgresql_says_and_the_headers_are_those_of_the_standard",
    "test_retry_after_counts_beside_a_200_that_is_not_what_is_expected",
}
# What fetch() cannot do. docs/edge.md says what follows.
_DIFFERS = {
    "nothing tells an isolate of SIGINT": lambda values: values.get("number") is signal.SIGINT,
    "an edge worker is one isolate, not several processes": lambda values: values.get("processes") == 2,
    "of an answer with endless headers fetch() tells no status": lambda values: (
        b"x: y\r\n" * 20_000 in values.get("answer", b"") or (b"x: " + b"y" * 4000) in values.get("answer", b"")
    ),
}


@pytest.fixture(autouse=True)
def _only_what_can_be(request):
    values = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    for reason, differs in _DIFFERS.items():
        if differs(values):
            pytest.skip(reason)


for _test in conforming():
    globals()[_test.__name__] = (
        _test
        if WHOLE or _test.__name__ in _SMOKE
        else pytest.mark.skip(reason="the edge worker: make test-edge")(_test)
    )
