"""config.toml's defaults, ``config show``, and the label that lives in the database."""

import json

import pexpect
import pytest

from helpers import create, one, send
from processes import QCTL, environment, failing, ok, qctl

FILE = """
default = "dev"

[profiles.dev]
dsn = "postgresql://me:hunter2@dev.example.com/app"

[defaults]
output = "json"
limit = 2

[defaults.dead]
output = "csv"
"""


def typed(dsn: str, answer: str | None, *arguments: str) -> tuple[int, str]:
    """Runs a command in a terminal, answers its question, and returns its exit code and the screen."""
    terminal = pexpect.spawn(
        str(QCTL),
        list(arguments),
        env=environment(QCTL_DSN=dsn, TERM="xterm", COLUMNS="200"),
        encoding="utf-8",
        timeout=30,
    )
    seen = ""
    if answer is not None:
        terminal.expect([r"\[y/N\]: ", "type its name to continue.*: "])
        seen = terminal.before + terminal.after
        terminal.sendline(answer)
    terminal.expect(pexpect.EOF)
    terminal.close()
    return terminal.exitstatus, seen + terminal.before


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(FILE)
    path.chmod(0o600)
    return path


def test_defaults_hold_for_every_command_and_a_commands_own_win(conn, dsn, file):
    create(conn)
    send(conn, 3)
    conn.execute("select qctl.discard('orders', '{1}')")
    here = {"QCTL_CONFIG": str(file)}
    assert len(json.loads(ok("messages", dsn=dsn, **here).stdout)) == 2
    assert len(json.loads(ok("messages", "--limit", "3", dsn=dsn, **here).stdout)) == 3
    assert ok("dead", dsn=dsn, **here).stdout.startswith("queue_name,")
    assert ok("dead", "-o", "tsv", dsn=dsn, **here).stdout.startswith("queue_name\t")
    assert ok("queues", dsn=dsn).stdout.startswith("queue")


def test_a_variable_comes_before_the_files_default(conn, dsn, file):
    for name in ("orders", "bills"):
        create(conn, name)
        send(conn, 1, name)
    file.write_text('[defaults]\nqueue = "bills"\n')
    here = {"QCTL_CONFIG": str(file)}
    assert {row["queue_name"] for row in json.loads(ok("depth", "-o", "json", dsn=dsn, **here).stdout)} == {"bills"}
    found = ok("depth", "-o", "json", dsn=dsn, QCTL_QUEUE="orders", **here).stdout
    assert {row["queue_name"] for row in json.loads(found)} == {"orders"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[defaults]\nyes = true", "agreement must be given each time"),
        ('[defaults.status]\ndsn = "host=x"', "a connection belongs in a profile"),
        ("[defaults]\ncolour = 1", "no command has --colour"),
        ("[defaults.statsu]\nwatch = true", "no such command: statsu"),
        ("[defaults.status]\nlimit = 5", "qctl status has no --limit"),
        ('[defaults]\noutput = "yaml"', "'yaml' is not one of"),
        ('[defaults.status]\nworkers = "yes"', "needs true or false"),
        ("defaults = 5", "defaults is not a table"),
    ],
)
def test_a_default_that_cannot_be_is_named(dsn, file, text, said):
    file.write_text(text)
    assert said in failing(2, "status", dsn=dsn, QCTL_CONFIG=str(file))
    assert qctl("--help", QCTL_CONFIG=str(file)).returncode == 0


def test_a_default_profile_is_a_name(file):
    file.write_text("[default]\n")
    assert "default is not a name" in failing(2, "status", QCTL_CONFIG=str(file))


def shown(*arguments: str, **variables: str) -> dict[str, tuple[str | None, str]]:
    rows = json.loads(ok("config", "show", *arguments, "-o", "json", **variables).stdout)
    return {row["setting"]: (row["value"], row["source"]) for row in rows}


def test_config_show_says_where_each_value_is_from_and_no_password(file, tmp_path):
    here = {"QCTL_CONFIG": str(file)}
    found = shown(PGPORT="6543", QCTL_QUEUE="orders", **here)
    assert found["host"] == ("dev.example.com", "profile dev")
    assert found["connection"] == ("profile dev", "the default profile")
    assert found["port"] == ("6543", "PGPORT")
    assert found["password"] == ("…", "profile dev")
    assert found["queue"] == ("orders", "QCTL_QUEUE")
    assert found["--output"] == ("json", f"{file}: defaults")
    assert found["dead --output"] == ("csv", f"{file}: defaults.dead")
    assert shown("--dsn", "host=other", PGPASSWORD="hunter2", **here)["password"] == ("…", "PGPASSWORD")
    everything = ok("config", "show", "-o", "csv", PGPASSWORD="hunter3", **here).stdout
    assert "hunter" not in everything
    passfile = tmp_path / "pgpass"
    passfile.write_text("")
    assert "if it has a matching line" in shown("--dsn", "host=other", PGPASSFILE=str(passfile), **here)["password"][1]
    service = tmp_path / "services"
    service.write_text("[app]\nhost=served.example.com\n")
    assert shown(PGSERVICE="app", PGSERVICEFILE=str(service))["host"] == ("served.example.com", "service app")


# The label.


def test_a_protected_database_wants_its_name_typed(conn, dsn):
    create(conn)
    send(conn, 3)
    row = json.loads(ok("config", "label", "prod", "--protect", "-o", "json", dsn=dsn).stdout)[0]
    assert row == {"label": "prod", "protected": True, "changed": True}
    assert json.loads(ok("config", "label", "prod", "-o", "json", dsn=dsn).stdout)[0]["changed"] is False
    code, screen = typed(dsn, "y", "discard", "1")
    assert code == 7
    assert "This is prod" in screen
    assert "on prod: " in screen
    assert "nothing was done" in screen
    assert one(conn, "select count(*) from qctl.dead_letter") == 0
    code, _ = typed(dsn, "prod", "discard", "1")
    assert code == 0
    assert one(conn, "select count(*) from qctl.dead_letter") == 1
    ok("discard", "2", "--yes", dsn=dsn)


def test_what_asks_nowhere_else_asks_in_a_protected_database(conn, dsn):
    create(conn)
    conn.execute("create table public.users (id int primary key)")
    conn.execute("select qctl.attach('public.users', 'orders')")
    ok("config", "label", "prod", "--protect", dsn=dsn)
    for arguments in (["detach", "public.users"], ["disarm"]):
        assert "prod is protected" in failing(7, *arguments, dsn=dsn)
        assert typed(dsn, "no", *arguments)[0] == 7
    assert "protected" in failing(7, "config", "label", "--remove", dsn=dsn)
    assert typed(dsn, "prod", "detach", "public.users")[0] == 0
    ok("disarm", "--yes", dsn=dsn)
    ok("config", "label", "prod", "--no-protect", "--yes", dsn=dsn)
    conn.execute("select qctl.attach('public.users', 'orders')")
    assert typed(dsn, None, "detach", "public.users")[0] == 0
    assert "y/N" in typed(dsn, "n", "drop", "orders")[1]
    ok("purge", "--older-than", "1d", dsn=dsn)
    ok("config", "label", "--remove", dsn=dsn)
    assert "has no label" in ok("config", "label", dsn=dsn).stderr


def test_a_copy_is_not_protected_by_the_originals_label(conn, dsn):
    create(conn)
    send(conn)
    ok("config", "label", "prod", "--protect", dsn=dsn)
    conn.execute("update qctl.label set system_identifier = 1")
    _code, screen = typed(dsn, "y", "discard", "1")
    assert "a copy of prod: " in screen
    assert json.loads(ok("config", "label", "-o", "json", dsn=dsn).stdout)[0]["is_copy"] is True
    assert "40 letters" in failing(2, "config", "label", "no spaces", dsn=dsn)
    assert ok("config", "label", "dev", "--sql").stdout == 'select * from "qctl"."set_label"("p_label" => \'dev\');\n'
