"""Help and version."""

import re
import shlex
from pathlib import Path

import pytest

from helpers import create
from processes import failing, ok, plain, qctl, screen
from qctl.cli import runbooks, synonyms
from qctl.cli.app import whole


def test_version_and_help():
    from importlib.metadata import version

    assert ok("--version").stdout == f"qctl {version('qctl')}\n"
    assert "Set up" in ok("help", "--all").stdout
    assert ok("-h").stdout == ok("--help").stdout


@pytest.mark.parametrize("command", sorted(c.name for c in whole().registered_commands))
def test_every_command_has_help_with_an_example(command):
    assert "Example: qctl " + command in " ".join(ok(command, "--help").stdout.split())


def test_help_and_version_are_understood_as_commands():
    assert ok("help").stdout == ok("--help").stdout
    assert ok("help", "status").stdout == ok("status", "--help").stdout
    assert ok("version").stdout == ok("--version").stdout


def test_brackets_are_text_and_flags_have_no_value():
    assert '[queues.orders.attach."public.orders"]' in ok("apply", "-h").stdout
    assert "qctl[metrics]" in ok("metrics", "-h").stdout
    for command in ("apply", "set", "secret", "status"):
        assert "<bool>" not in ok(command, "-h").stdout
    assert "<bool>" not in ok("secret", "set", "-h").stdout + ok("-h").stdout


@pytest.mark.parametrize("word", sorted(synonyms.COMMANDS))
def test_a_word_of_another_tool_gets_ours(word):
    said = failing(2, word, "x")
    command = synonyms.COMMANDS[word].split()[0]
    assert f"Try:  qctl {synonyms.COMMANDS[word]} x" in said
    assert command in {c.name for c in whole().registered_commands} | {g.name for g in whole().registered_groups}


@pytest.mark.parametrize("word", sorted(synonyms.COMMANDS))
def test_what_is_printed_for_a_word_alone_works_when_typed(conn, dsn, word):
    [typed] = [line.removeprefix("  Try:  ") for line in failing(2, word).splitlines() if line.startswith("  Try:  ")]
    if typed.endswith(("--watch", "-f")):
        return
    done = qctl(*shlex.split(typed)[1:], dsn=dsn)
    # describe and show look at one, and say which is missing.
    assert done.returncode == 0 or "no queue" in done.stderr or "Missing argument" in done.stderr


def test_hints_show_no_password_and_only_options_that_the_command_has(dsn):
    said = failing(2, "status", "--json", "--dsn", "postgres://u:hidden@h/db")
    assert "hidden" not in said
    assert "hidden" not in failing(2, "ls", "--dsn", "host=h password=hidden")
    assert "-o json" not in failing(2, "worker", "--json")
    assert "No such option" in failing(2, "status", "--format=json")


def test_an_option_of_another_tool_gets_ours(dsn):
    said = failing(2, "status", "--json", "--dsn", dsn)
    [typed] = [line.removeprefix("  Try:  ") for line in said.splitlines() if line.startswith("  Try:  ")]
    assert ok(*shlex.split(typed)[1:]).stdout == "[]\n"


def test_every_cause_has_a_runbook_that_can_be_read_in_the_terminal(conn):
    causes = {row[0] for row in conn.execute("select cause from qctl.health_causes()")}
    assert causes - {"schema_outdated"} == set(runbooks.PAGES)
    for name in runbooks.names():
        assert ok("help", name).stdout.startswith("# ")
    assert set(runbooks.PAGES.values()) | {"pg-net-stuck"} <= set(runbooks.names())
    index = (Path(__file__).parents[2] / "docs/runbooks/index.md").read_text()
    for cause in causes:
        assert f"`{cause}`" in index, cause
    assert "No such command" in failing(2, "help", "nothing")


def test_doctor_names_the_page_of_a_finding(conn, dsn):
    create(conn)
    conn.execute("update qctl.queue set created_at = now() - interval '1 min'")
    shown = plain(screen(dsn, "doctor", columns=200, rows=40, seconds=0.1))
    [typed] = re.findall(r"^    more: (.*)$", shown, re.MULTILINE)
    assert typed == "qctl help many-waiting"
    assert ok(*typed.split()[1:]).stdout.startswith("# Many messages wait")
