"""Pace: claims follow the rate, whoever claims."""

import time

import psycopg
import pytest

from helpers import claim, create, one, send, settle


def claims_during(conn, seconds: float, *others) -> list[tuple[float, int]]:
    sessions = [conn, *others]
    begin, seen = time.monotonic(), []
    while (now := time.monotonic() - begin) < seconds:
        for session in sessions:
            if claimed := claim(session, 100):
                seen.append((now, len(claimed)))
                settle(conn, claimed, 200)
        time.sleep(0.01)
    return seen


def test_a_rate_holds_over_time_for_all_claimers_together(conn, other):
    create(conn, rate_per_s=100)
    send(conn, 2000)
    seen = claims_during(conn, 4, other)
    total = sum(count for _, count in seen)
    # The burst of one second, and an even pace after it.
    assert 100 * 4 * 0.9 <= total <= 100 * 4 * 1.05 + 100
    for start in (0.0, 1.0, 2.0):
        assert sum(count for at, count in seen if start <= at < start + 2) <= 100 * 2 + 100


def test_a_slow_rate_still_moves(conn):
    create(conn, rate_per_s=1 / 60)
    send(conn, 3)
    assert len(claim(conn)) == 1
    assert claim(conn) == []
    conn.execute("update qctl.gate set paced_at = paced_at - interval '60 s'")
    assert len(claim(conn)) == 1


def test_an_idle_queue_saves_up_no_more_than_a_second(conn):
    create(conn, rate_per_s=50)
    conn.execute("update qctl.gate set paced_at = clock_timestamp() - interval '1 day'")
    send(conn, 500)
    assert len(claim(conn, 500)) == 50
    assert claim(conn, 500) == []


def test_a_slow_start_and_a_probe_get_through_a_high_rate(conn):
    create(conn, rate_per_s=1000)
    send(conn, 200)
    conn.execute("select qctl.pause('orders')")
    conn.execute("select qctl.resume('orders')")
    first = claim(conn)
    assert len(first) == 10
    settle(conn, first, 503)
    conn.execute("update qctl.gate set probe_at = clock_timestamp()")
    assert len(claim(conn)) == 1


def test_without_a_rate_there_is_none(conn):
    create(conn, rate_per_s=1)
    conn.execute("select qctl.set_queue('orders', p_settings => '{\"rate_per_s\": null}')")
    send(conn, 300)
    assert len(claim(conn, 300)) == 300


@pytest.mark.parametrize("rate", [0, -1, 1e9])
def test_rates_that_are_none(conn, rate):
    with pytest.raises(psycopg.Error, match="a rate is"):
        create(conn, rate_per_s=rate)


def test_a_rate_is_written_only_when_something_was_claimed(conn):
    create(conn, rate_per_s=50)
    before = one(conn, "select xmin from qctl.gate")
    assert claim(conn) == []
    assert one(conn, "select xmin from qctl.gate") == before


def test_a_rate_that_is_changed_forgets_the_pace_of_before(conn):
    create(conn, rate_per_s=1 / 3600)
    send(conn, 200)
    assert len(claim(conn)) == 1
    assert claim(conn) == []
    conn.execute("""select qctl.set_queue('orders', p_settings => '{"rate_per_s": 100}')""")
    assert len(claim(conn)) == 100


def test_a_clock_that_is_set_back_does_not_stop_a_rate(conn):
    create(conn, rate_per_s=100)
    send(conn, 200)
    assert len(claim(conn)) == 100
    conn.execute("update qctl.gate set paced_at = clock_timestamp() + interval '1 day'")
    assert len(claim(conn)) == 100
