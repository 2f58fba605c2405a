"""Whatever is read from outside: any text gives a value or a clear error, never another exception. ``make fuzz`` runs more."""

import contextlib
import datetime
import socket
import tomllib
from pathlib import Path

import pytest
from bounded import bounded
from hypothesis import example, given
from hypothesis import strategies as st

from qctl import config, ssrf, units
from qctl.cli import options, queue_settings
from qctl.errors import ExitCode, QctlError, UsageError
from qctl.operations import criteria, manifest
from qctl.worker.request import retry_after_seconds

near_durations = st.from_regex(r"[0-9.]{0,12}(ms|s|m|h|d|w|min)?([0-9]{1,4}(ms|s|m|h|d|w))*", fullmatch=True)
near_rates = st.from_regex(r"[-0-9.e]{0,12}/?(s|sec|min|m|h|d)?", fullmatch=True)
near_times = st.from_regex(
    r"[0-9]{1,5}-[0-9]{1,2}-[0-9]{1,2}[ T]?([0-9]{1,2}:?){0,3}(Z|[+-][0-9]{2}:?[0-9]{2})?", fullmatch=True
)
texts = st.text(max_size=60)


@bounded
@given(st.one_of(texts, near_durations))
@example("٣s")
@example("1" * 400 + "s")
def test_durations(text):
    value = units.parse(text)
    assert value is None or 0 <= value < 10**18


@bounded
@given(st.one_of(texts, near_rates))
@example("0/s")
@example("1e9/s")
def test_rates(text):
    value = units.rate(text)
    assert value is None or 0 < value < 10**10


@bounded
@given(st.one_of(texts, near_durations, near_rates, near_times))
@pytest.mark.parametrize(
    "parse",
    [
        options.size, options.retention, options.duration, units.moment, options.per_second, options.share, options.durations,
        lambda text: options.headers([text]), lambda text: options.open_headers([text]),
        lambda text: queue_settings.parsed({"expect_body": text}),
        lambda text: criteria.read(status_code=[text], where=text),
    ],
)  # fmt: skip
def test_options(parse, text):
    """A value, or an error of usage that says something and quotes no more than a part of a long text."""
    try:
        parse(text)
    except UsageError as error:
        assert error.code is ExitCode.USAGE
        assert 0 < len(error.message) < 300


@bounded
@given(
    st.one_of(
        st.binary(max_size=60),
        st.integers(-(10**30), 10**30).map(lambda n: str(n).encode()),
        st.datetimes().map(lambda t: t.strftime("%a, %d %b %Y %H:%M:%S GMT").encode()),
        near_times.map(str.encode),
    )
)
@example(b"Fri, 31 Dec 99999 23:59:59 GMT")
@example(b"Thu, 01 Jan 1970 00:00:00 -9999")
def test_retry_after(value):
    seconds = retry_after_seconds(value)
    assert seconds is None or 0 <= seconds < 2**31


@bounded
@given(st.one_of(texts, st.binary(max_size=200).map(lambda data: data.decode("latin-1"))))
def test_a_config_file_of_anything(tmp_path_factory, text):
    file = _file(tmp_path_factory, text)
    with contextlib.suppress(QctlError):
        config.settings(None, None, {"QCTL_CONFIG": str(file)})


toml_values = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**62), 2**62), st.floats(), texts, st.just(datetime.date(2026, 1, 1))),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)


@bounded
@given(st.dictionaries(st.one_of(st.sampled_from(["url", "headers", "rate", "retry", "attach", "concurrency", "expect_json",
    "allow_networks", "order_retry", "timeout", "retention", "breaker", "on_dead", "ordered", "expect_body"]), texts),
    toml_values, max_size=5))  # fmt: skip
def test_a_declared_queue_of_anything(table):
    with contextlib.suppress(UsageError):
        manifest._queue(
            "orders", {"url": "https://h/", **table}, "file: queues.orders",
            setting_keys=queue_settings.toml_keys(), parse=queue_settings.parsed,
        )  # fmt: skip


@bounded
@given(st.one_of(texts, st.text("[]=\"'.{}\n#a1 ", max_size=80)))
def test_a_declared_file_of_anything(tmp_path_factory, text):
    file = _file(tmp_path_factory, text)
    with pytest.raises(UsageError):
        manifest.read(file, queue_settings.toml_keys(), queue_settings.parsed)
        raise UsageError("it was right")


@bounded
@given(st.one_of(st.integers(0, 2**32 - 1).map(lambda n: socket.inet_ntoa(n.to_bytes(4, "big"))),
                 st.binary(min_size=16, max_size=16).map(lambda data: socket.inet_ntop(socket.AF_INET6, data))))  # fmt: skip
def test_every_address_has_an_answer_and_what_carries_another_has_the_same(address):
    why = ssrf.refusal(address, ())
    assert why is None or address in why
    if "." in address and ":" not in address and why is not None:
        assert ssrf.refusal(f"::ffff:{address}", ())
        number = int.from_bytes(socket.inet_aton(address), "big")
        assert ssrf.refusal(f"64:ff9b::{number >> 16:x}:{number & 0xFFFF:x}", ())


@bounded
@given(st.text("0123456789abcdef.x[]:%", max_size=24))
def test_a_dsn_of_anything(text):
    with contextlib.suppress(QctlError):
        config.database(text, None, {})


def _file(factory, text: str) -> Path:
    file = factory.getbasetemp() / "fuzzed.toml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(tomllib.TOMLDecodeError, UnicodeDecodeError):
        tomllib.loads(file.read_text(encoding="utf-8"))
    return file
