"""What every worker of the http transport must pass, whatever it is written in: the tests of ``qctl worker`` that speak of no
option and no sentence of its own. The edge worker runs them too (tests/edge/test_conformance.py)."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

CONFORMING = {
    "test_worker": [
        "test_drain_delivers_everything_and_ends",
        "test_the_body_is_what_postgresql_says_and_the_headers_are_those_of_the_standard",
        "test_all_serves_queues_that_come_later",
        "test_a_stop_settles_what_is_in_flight_and_exits_0",
        "test_retries_are_tried_when_due",
        "test_a_slow_endpoint_stalls_neither_other_queues_nor_other_messages",
        "test_a_queue_dropped_under_the_worker_stops_only_itself",
        "test_a_queue_resumed_is_delivered_by_the_worker_that_runs",
        "test_two_workers_share_a_queue_and_deliver_each_message_once",
        "test_odd_answers",
        "test_retry_after_counts_beside_a_200_that_is_not_what_is_expected",
        "test_an_endpoint_that_is_not_there",
        "test_a_megabyte_goes_through",
        "test_a_worker_that_was_stopped_for_long_posts_nothing_stale",
        "test_drain_empties_a_queue_through_a_narrow_gate",
        "test_a_locked_queue_table_holds_up_only_its_queue",
        "test_a_message_with_an_impossible_age_is_delivered_like_any_other",
        "test_a_connection_that_is_lost_is_made_again",
        "test_a_claim_that_fails_holds_up_no_known_answer",
        "test_answers_that_cannot_be_settled_stop_claims_and_are_settled_at_the_stop",
    ],
    "test_endpoint_side": [
        "test_a_thousand_random_messages_verify_at_the_endpoint",
        "test_a_rotation_loses_nothing",
        "test_a_missing_header_secret_sends_nothing_and_holds_up_nobody_else",
        "test_an_outage_burns_hardly_an_attempt_and_ends_by_itself",
        "test_drain_ends_while_the_breaker_is_open",
        "test_concurrency_auto_delivers_and_finds_more_than_one",
        "test_what_is_expected_is_looked_for_in_the_first_64_kib",
        "test_events_reach_their_endpoint_signed",
        "test_order_holds_at_the_endpoint",
        "test_a_pace_is_kept",
    ],
    "test_max_bytes": [
        "test_a_worker_holds_no_more_than_it_may",
        "test_a_queue_of_large_messages_leaves_room_for_others",
    ],
    "test_crashes": [
        "test_kill_9_in_the_middle_loses_nothing",
        "test_the_server_stops_and_starts_under_a_running_worker",
    ],
}


def conforming() -> Iterator[Callable[..., object]]:
    """The test functions."""
    for module, names in CONFORMING.items():
        path = Path(__file__).with_name("worker") / f"{module}.py"
        spec = importlib.util.spec_from_file_location(f"conforming_{module}", path)
        assert spec
        assert spec.loader
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = loaded
        spec.loader.exec_module(loaded)
        for name in names:
            yield getattr(loaded, name)
