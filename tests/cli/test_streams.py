"""Terminals, pipes and machines as they are: no letter, closed stream or missing home ends a command."""

import json
import multiprocessing
import os
import subprocess

import pytest

from helpers import create
from processes import QCTL, data, environment, ok, qctl
from qctl import config


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252", "utf-16"])
@pytest.mark.slow
def test_output_in_any_encoding(conn, dsn, encoding):
    create(conn)
    # With a worker all is well, and the line that says so names its limits with "≤".
    conn.execute("select qctl.register_worker('w', 'http', '{orders}', '0')")
    assert "≤" in ok("check", dsn=dsn).stdout
    ok("send", "-q", "orders", '{"n": "日本 ≤ é"}', dsn=dsn)
    env = environment(QCTL_DSN=dsn, PYTHONIOENCODING=encoding)
    for command in (
        ["check"], ["status"], ["messages"], ["doctor"], ["show", "1"], ["queues", "--help"],
        ["messages", "--payload", "-o", "json"],
    ):  # fmt: skip
        done = subprocess.run([str(QCTL), *command], env=env, capture_output=True, check=False)
        assert done.returncode in (0, 8), (command, done.stderr)
    if encoding != "utf-16":
        assert json.loads(done.stdout.decode(encoding))[0]["message"] == {"n": "日本 ≤ é"}


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-", "0<&-"])
@pytest.mark.slow
def test_closed_streams(conn, dsn, closed):
    create(conn)
    for command, codes in (("queues", (0,)), ("pause -q orders", (0,)), ("describe nothing", (6,)), ("nothing", (2,))):
        env = environment(QCTL_DSN=dsn)
        done = subprocess.run(f"{QCTL} {command} {closed}", shell=True, env=env, check=False, timeout=60)
        assert done.returncode in codes, command


def test_a_file_with_a_byte_order_mark(conn, dsn, tmp_path):
    create(conn)
    (tmp_path / "one.json").write_bytes(b"\xef\xbb\xbf" + b'{"n": 1}\n')
    ok("send", "-q", "orders", f"@{tmp_path}/one.json", dsn=dsn)
    (tmp_path / "qctl.toml").write_bytes(b"\xef\xbb\xbf" + b'[queues.more]\nurl = "http://127.0.0.1:9/y"\n')
    ok("apply", str(tmp_path / "qctl.toml"), "--yes", dsn=dsn)
    assert [row["queue_name"] for row in data("queues", dsn=dsn)] == ["more", "orders"]
    assert qctl("check", dsn=dsn).returncode in (0, 8)


def _settings_of_nobody() -> None:
    os.setuid(54321)
    config.settings(None, None, {"HOME": "/root"})
    os.environ.pop("HOME")
    config.settings(None, None, {})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user whom the system does not know")
def test_settings_without_a_home_and_a_user():
    config.settings(None, None, {})  # loads what that user may not read
    child = multiprocessing.get_context("fork").Process(target=_settings_of_nobody)
    child.start()
    child.join(30)
    assert child.exitcode == 0
