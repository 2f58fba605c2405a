"""The settings of a queue, by create and set, as describe shows them."""

import json

from helpers import URL
from processes import ok


def test_settings_of_the_endpoints_side(conn, dsn):
    options = (
        "--rate 600/min --concurrency auto --breaker 5 --breaker-share 50% --breaker-pause 1m --ordered --order-retry 1s,2s"
        " --on-dead block"
    )
    ok("create", "orders", "--url", URL, *options.split(), "--expect-body", '{"ok": true}', dsn=dsn)
    shown = json.loads(ok("describe", "orders", "-o", "json", dsn=dsn).stdout)
    expected = {
        "rate_per_s": 10,
        "concurrency_auto": True,
        "breaker_after": 5,
        "breaker_share": 0.5,
        "breaker_pause_max_s": 60,
        "expect_json": {"ok": True},
        "ordered": True,
        "order_schedule_s": [1, 2],
        "on_dead": "block",
    }
    assert {key: shown[key] for key in expected} == expected
    ok("set", "--rate", "none", "--concurrency", "7", "--breaker", "off", "--expect-body", "", "--no-ordered", dsn=dsn)
    shown = json.loads(ok("describe", "orders", "-o", "json", dsn=dsn).stdout)
    assert (shown["rate_per_s"], shown["concurrency_auto"], shown["concurrency"]) == (None, False, 7)
    assert (shown["breaker_after"], shown["expect_json"], shown["expect_text"], shown["ordered"]) == (
        0,
        None,
        None,
        False,
    )
    text = ok("describe", "orders", dsn=dsn).stdout
    assert "no limit" in text
    assert "off" in text
