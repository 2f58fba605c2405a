"""Settings: every row of the command line is a setting that the database knows, and nothing else is settable."""

import psycopg
import pytest
from psycopg.types.json import Jsonb

from helpers import create, one
from qctl.cli.queue_settings import SETTINGS

SAMPLES = {
    "transport": "http", "trust_location": True, "timeout": "9s", "concurrency": "3", "batch": 7, "dedicated": False,
    "max_in_flight": 50, "rate": "5/s", "breaker": "4", "breaker_share": "50%", "breaker_pause": "9s",
    "allow_network": ["10.0.0.0/8"], "allow_private": True, "accept_net_secrets": True, "expect_body": "ok",
    "expect_text": "ok", "expect_json": {"ok": True}, "retry": "1s,2s", "retry_jitter": 0.5, "retry_after_max": "1h",
    "ordered": True, "order_retry": "1s", "on_dead": "block", "reject_after": 2, "max_lost": 3, "retention": "never",
    "linger": "30ms", "log": "failures", "archive": "off", "broker": [],
}  # fmt: skip


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_each_setting_reaches_its_column(conn, setting):
    create(conn)
    told = setting.parse(SAMPLES[setting.name])
    conn.execute("select qctl.set_queue('orders', p_settings => %s)", (Jsonb(told),))
    for key, value in told.items():
        assert one(conn, "select to_jsonb(q) -> %s = %s from qctl.queue q", key, Jsonb(value)) in (True, None)
        assert (one(conn, "select to_jsonb(q) ->> %s from qctl.queue q", key) is None) == (value is None)


def test_null_keeps_what_must_have_a_value_and_unsets_the_rest(conn):
    create(conn, rate_per_s=5, timeout_ms=7000)
    conn.execute(
        "select qctl.set_queue('orders', p_settings => %s)", (Jsonb({"rate_per_s": None, "timeout_ms": None}),)
    )
    assert conn.execute("select rate_per_s, timeout_ms from qctl.queue").fetchone() == (None, 7000)


def test_text_and_json_exclude_each_other(conn):
    create(conn, expect_text="ok")
    conn.execute("select qctl.set_queue('orders', p_settings => %s)", (Jsonb({"expect_json": {"a": 1}}),))
    assert conn.execute("select expect_text, expect_json from qctl.queue").fetchone() == (None, {"a": 1})
    conn.execute("select qctl.set_queue('orders', p_settings => %s)", (Jsonb({"expect_text": "ok"}),))
    assert conn.execute("select expect_text, expect_json from qctl.queue").fetchone() == ("ok", None)


@pytest.mark.parametrize(
    "key", ["queue_id", "queue_uuid", "queue_name", "url", "headers", "created_at", "created_by", "nothing"]
)
def test_what_is_no_setting_cannot_be_set(conn, key):
    create(conn)
    with pytest.raises(psycopg.Error, match=f"{key}. is not a setting of a queue") as refused:
        conn.execute("select qctl.set_queue('orders', p_settings => %s)", (Jsonb({key: 1}),))
    assert refused.value.sqlstate == "QC002"


@pytest.mark.parametrize("value", ["much", -1, [1], {"a": 1}, 1e300])
def test_a_value_out_of_range_is_refused(conn, value):
    create(conn)
    with pytest.raises(psycopg.Error) as refused:
        conn.execute("select qctl.set_queue('orders', p_settings => %s)", (Jsonb({"timeout_ms": value}),))
    assert refused.value.sqlstate == "QC002"
