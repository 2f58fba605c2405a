"""The settings of a queue: one row gives the flag, the key in a file and what the database is told."""

import typing

import pytest

from qctl.cli import queue_settings
from qctl.cli.queue_settings import SETTINGS, parsed, toml_keys
from qctl.errors import UsageError


def test_a_row_is_a_flag_and_a_key_of_the_same_name():
    names = [setting.name for setting in SETTINGS]
    assert len(names) == len(set(names))
    assert set(names) <= toml_keys()
    for setting in SETTINGS:
        assert setting.flags[0].startswith(f"--{setting.name.replace('_', '-')}")
        assert (setting.label is None) == (setting.show is None)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"timeout": "30s"}, {"timeout_ms": 30000}),
        ({"retry": "5s,5m"}, {"retry_schedule_s": [5, 300]}),
        ({"retry": ["5s", "5m"]}, {"retry_schedule_s": [5, 300]}),
        ({"retry": ""}, {"retry_schedule_s": []}),
        ({"rate": "none"}, {"rate_per_s": None}),
        ({"rate": "600/min"}, {"rate_per_s": 10.0}),
        ({"retention": "never"}, {"retention_s": None}),
        ({"breaker": "off"}, {"breaker_after": 0}),
        ({"breaker": 5}, {"breaker_after": 5}),
        ({"breaker_after": 5}, {"breaker_after": 5}),
        ({"breaker_share": 0.5}, {"breaker_share": 0.5}),
        ({"breaker_share": "50%"}, {"breaker_share": 0.5}),
        ({"concurrency": "auto"}, {"concurrency_auto": True}),
        ({"concurrency": 7}, {"concurrency": 7}),
        ({"concurrency": "7"}, {"concurrency": 7}),
        ({"allow_private": True}, {"allow_networks": ["0.0.0.0/0", "::/0"]}),
        ({"allow_private": False}, {"allow_networks": []}),
        ({"allow_networks": ["10.0.0.0/8"]}, {"allow_networks": ["10.0.0.0/8"]}),
        ({"expect_body": '{"ok": true}'}, {"expect_json": {"ok": True}}),
        ({"expect_body": {"ok": True}}, {"expect_json": {"ok": True}}),
        ({"expect_body": "done"}, {"expect_text": "done"}),
        ({"expect_body": ""}, {"expect_text": None}),
        ({"expect_text": "[1]"}, {"expect_text": "[1]"}),
        ({"accept_net_secrets": True, "on_dead": "block"}, {"net_secrets": True, "on_dead": "block"}),
    ],
)
def test_what_the_command_line_and_a_file_say_in_the_words_of_the_database(given, told):
    assert parsed(given) == told


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"timeout": 30}, "--timeout: 30 is not a text"),
        ({"max_in_flight": True}, "--max-in-flight: True is not a whole number"),
        ({"ordered": "yes"}, "--ordered: yes is not true or false"),
        ({"retry_jitter": float("nan")}, "--retry-jitter: nan is not a number"),
        ({"breaker": "soon"}, "--breaker: 'soon' is neither a whole number nor off"),
        ({"allow_network": ["10.0.0.0/8"], "allow_private": True}, "--allow-private allows every network"),
    ],
)
def test_a_value_that_is_not_valid_names_its_flag(given, error):
    with pytest.raises(UsageError, match=error.replace("(", "[(]")):
        parsed(given)


def test_in_a_file_it_names_its_place():
    with pytest.raises(UsageError, match=r"qctl\.toml: queues\.orders\.rate: 'fast' is not a rate"):
        parsed({"rate": "fast"}, "qctl.toml: queues.orders")


def test_commands_with_one_flag_share_its_row():
    for annotation, name in ((queue_settings.Transport, "transport"), (queue_settings.OnDead, "on_dead")):
        (option,) = typing.get_args(annotation)[1:]
        setting = next(setting for setting in SETTINGS if setting.name == name)
        assert (option.default, option.help) == (f"--{name.replace('_', '-')}", setting.help)
