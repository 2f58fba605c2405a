"""qctl capacity as a plan: what a load would need."""

import json

import pytest

from helpers import create
from processes import ok, qctl


def plans(dsn, *arguments: str) -> list[dict]:
    return json.loads(ok("capacity", *arguments, "-o", "json", dsn=dsn).stdout)["plans"]


def test_the_case_it_grew_from_and_ten_and_a_hundred_times_of_it(conn, dsn):
    one_time, ten, hundred, *handed = plans(
        dsn, "--users", "100000", "--active", "5%", "--events", "1/min", "--latency", "200ms"
    )
    assert [(plan["transport"], plan["times"]) for plan in handed] == [("broker", 10), ("broker", 100)]
    assert handed[0]["database_cores"] < 0.5 * ten["database_cores"]
    assert handed[1]["database_cores"] < hundred["database_cores"]
    assert [plan["times"] for plan in (one_time, ten, hundred)] == [1, 10, 100]
    assert one_time["per_s"] == pytest.approx(5000 / 60)
    # Little's law: the endpoint's 0.2 s, and up to 0.09 s until the settle.
    assert one_time["in_flight"] == pytest.approx(5000 / 60 * 0.29)
    assert 5000 / 60 * 0.2 < one_time["concurrency"] < 2 * 5000 / 60 * 0.2
    assert (one_time["transport"], one_time["workers"]) == ("http", 1)
    assert one_time["database_cores"] < ten["database_cores"] < hundred["database_cores"] < 10 * ten["database_cores"]
    assert hundred["workers"] > 1
    assert one_time["messages_per_month"] == pytest.approx(5000 * 60 * 24 * 30)
    assert one_time["bytes_per_month"] > one_time["messages_per_month"] * 1024


def test_hours_and_payload_are_the_disks(conn, dsn):
    [all_day, *_] = plans(dsn, "--rate", "10/s", "--payload", "1k")
    [some_hours, *_] = plans(dsn, "--rate", "10/s", "--payload", "1k", "--hours", "6")
    [large, *_] = plans(dsn, "--rate", "10/s", "--payload", "1m")
    assert some_hours["bytes_per_month"] == pytest.approx(all_day["bytes_per_month"] / 4)
    assert large["bytes_per_month"] > 500 * all_day["bytes_per_month"]


def test_pg_net_when_asked_for_says_where_it_ends(conn, dsn):
    near, past, _ = plans(dsn, "--rate", "50/s", "--transport", "pg_net")
    assert near["workers"] == 1
    assert near["worker_cores"] == 0
    assert "no worker process is needed" in near["reason"]
    assert "this load needs http" in past["reason"]


def test_it_says_what_it_assumed_and_what_comes_next(conn, dsn):
    create(conn)
    done = ok("capacity", "--rate", "5000/min", dsn=dsn)
    assert "83/s of 1k, answered in 200ms, 24 h a day" in done.stderr
    assert "Next: qctl scale -q QUEUE --for 5000/min" in done.stderr
    ok("scale", "-q", "orders", "--for", "5000/min", dsn=dsn)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--rate", "1/s", "--users", "5"), "exclude each other"),
        (("--rate", "0/s"), ""),
        (("--users", "5", "--active", "0%"), "no events to plan for"),
        (("--rate", "1/s", "-q", "orders"), "does not belong to a queue"),
        (("--rate", "1/s", "--transport", "pigeon"), "'pigeon' is not a transport"),
        (("--rate", "1/s", "--payload", "big"), "is not a size"),
    ],
)
def test_what_it_does_not_take(conn, dsn, arguments, told):
    create(conn)
    done = qctl("capacity", *arguments, dsn=dsn)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stdout == ""


def test_without_a_load_it_shows_the_queues(conn, dsn):
    create(conn)
    assert "orders" in ok("capacity", dsn=dsn).stdout
