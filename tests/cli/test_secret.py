"""qctl secret: shown once, in no list; where a given one is read from."""

import json
import subprocess

import pexpect
import pytest

from helpers import create, one
from processes import QCTL, data, environment, ok, qctl


def test_a_secret_is_shown_once_and_in_no_list(conn, dsn):
    create(conn)
    [made] = data("secret", "rotate", dsn=dsn)
    assert made["secret"].startswith("whsec_")
    [again] = data("secret", "rotate", "--overlap", "1h", dsn=dsn)
    assert again["replaced"] == 1
    for output in ("json", "csv", "plain", "table"):
        text = ok("secret", "list", "-o", output, dsn=dsn).stdout
        assert made["mark"] in text
        assert "whsec_" not in text
    assert qctl("secret", "revoke", dsn=dsn).returncode == 7
    assert data("secret", "revoke", "--now", dsn=dsn)[0]["secret_id"] == made["secret_id"]
    assert ok("secret", "revoke", "--now", dsn=dsn).stderr.strip().endswith("has no older signing secret")
    refused = qctl("secret", "revoke", str(again["secret_id"]), "--now", dsn=dsn)
    assert (refused.returncode, "unsigned" in refused.stderr) == (7, True)
    ok("secret", "revoke", str(again["secret_id"]), "--now", "--unsigned", dsn=dsn)
    assert data("secret", "list", dsn=dsn) == []


def test_the_secret_stands_alone_and_whole(conn, dsn):
    create(conn)
    for output in ((), ("-o", "table"), ("-o", "plain")):
        text = ok("secret", "rotate", "--overlap", "0s", *output, dsn=dsn, COLUMNS="20").stdout
        assert text.startswith("whsec_")
        assert text.count("\n") == 1


def test_a_secret_that_nobody_saw_does_not_sign(conn, dsn):
    create(conn)
    done = subprocess.run(
        ["bash", "-c", f"{QCTL} secret rotate -q orders > /dev/full"],
        env=environment(QCTL_DSN=dsn), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert one(conn, "select count(*) from qctl.signing_secret") == 0


@pytest.mark.parametrize("data", [b"\xff\xfe", b"a\x00b", b"two\nlines"])
def test_secrets_that_are_no_text(conn, dsn, tmp_path, data):
    create(conn)
    (tmp_path / "f").write_bytes(data)
    for arguments in (("set", "token", "-"), ("set", "token", f"@{tmp_path / 'f'}"), ("rotate", "--given", "-")):
        done = qctl("secret", *arguments, dsn=dsn, stdin=data)
        assert done.returncode == 2
        assert b"bug" not in done.stderr


def test_a_byte_order_mark_is_no_part_of_a_secret(conn, dsn, tmp_path):
    (tmp_path / "f").write_bytes(b"\xef\xbb\xbfhush\r\n")
    ok("secret", "set", "token", f"@{tmp_path / 'f'}", dsn=dsn)
    assert one(conn, "select value from qctl.header_secret") == "hush"


def test_ctrl_c_at_the_hidden_prompt(conn, dsn):
    child = pexpect.spawn(str(QCTL), ["secret", "set", "token"], env=environment(QCTL_DSN=dsn), timeout=20)
    child.expect("The value of token")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130


def test_a_typed_secret_is_not_echoed(conn, dsn):
    child = pexpect.spawn(
        str(QCTL), ["secret", "set", "token"], env=environment(QCTL_DSN=dsn), timeout=20, encoding="utf-8"
    )
    child.expect("The value of token: ")
    child.sendline("planted")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert "planted" not in child.before
    assert one(conn, "select value from qctl.header_secret") == "planted"


def test_a_given_secret_comes_from_stdin_a_file_or_a_variable(conn, dsn, tmp_path):
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    file = tmp_path / "secret"
    file.write_text(f"{secret}\n")
    for name, source, extra in (("a", "-", {"stdin": secret}), ("b", f"@{file}", {}), ("c", "env:S", {"S": secret})):
        create(conn, name)
        assert data("secret", "rotate", "-q", name, "--given", source, dsn=dsn, **extra)[0]["secret"] == secret


def test_header_secrets_set_used_and_unset(conn, dsn):
    create(conn)
    assert data("secret", "set", "n8n", "env:T", dsn=dsn, T="Bearer x") == [
        {"name": "n8n", "changed": True, "used_by": []}
    ]
    ok("set", "-H", "Authorization: secret:n8n", dsn=dsn)
    assert json.loads(ok("describe", "orders", "-o", "json", dsn=dsn).stdout)["headers"] == {
        "authorization": "secret:n8n"
    }
    assert qctl("secret", "unset", "n8n", dsn=dsn).returncode == 7
    ok("set", "--no-header", "Authorization", dsn=dsn)
    ok("secret", "unset", "n8n", dsn=dsn)
    assert qctl("secret", "unset", "n8n", dsn=dsn).returncode == 6
