"""secret, events, and the options of create, set, attach and send that concern the endpoint, as users type them."""

import json
import subprocess

import pexpect
import pytest

from helpers import claim, create, one, settle
from processes import QCTL, environment, qctl

URL = "http://127.0.0.1:9/hook"


def ok(*arguments: str, dsn: str, **extra):
    done = qctl(*arguments, dsn=dsn, **extra)
    assert done.returncode == 0, done.stderr
    return done


def rows(*arguments: str, dsn: str, **extra) -> list[dict]:
    return json.loads(ok(*arguments, "-o", "json", dsn=dsn, **extra).stdout)


def test_a_secret_is_shown_once_and_in_no_list(conn, dsn):
    create(conn)
    [made] = rows("secret", "rotate", dsn=dsn)
    assert made["secret"].startswith("whsec_")
    [again] = rows("secret", "rotate", "--overlap", "1h", dsn=dsn)
    assert again["replaced"] == 1
    for output in ("json", "csv", "plain", "table"):
        text = ok("secret", "list", "-o", output, dsn=dsn).stdout
        assert made["mark"] in text
        assert "whsec_" not in text
    assert qctl("secret", "revoke", dsn=dsn).returncode == 7
    assert rows("secret", "revoke", "--now", dsn=dsn)[0]["secret_id"] == made["secret_id"]
    assert ok("secret", "revoke", "--now", dsn=dsn).stderr.strip().endswith("has no older signing secret")
    refused = qctl("secret", "revoke", str(again["secret_id"]), "--now", dsn=dsn)
    assert (refused.returncode, "unsigned" in refused.stderr) == (7, True)
    ok("secret", "revoke", str(again["secret_id"]), "--now", "--unsigned", dsn=dsn)
    assert rows("secret", "list", dsn=dsn) == []


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
        assert rows("secret", "rotate", "-q", name, "--given", source, dsn=dsn, **extra)[0]["secret"] == secret


@pytest.mark.parametrize(
    "arguments",
    [
        ("secret", "rotate", "--given", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("secret", "set", "token", "planted"),
        ("secret", "set", "token"),
        ("secret", "set", "token", "env:NOT_THERE"),
        ("secret", "set", "token", "@/not/there"),
        ("secret", "set", "a b", "-"),
        ("secret", "rotate", "--overlap", "soon"),
        ("set", "-H", "Authorization: Bearer planted"),
        ("create", "second", "--url", URL, "-H", "X-Api-Key: planted"),
        ("set", "--concurrency", "many"),
        ("set", "--rate", "fast"),
        ("set", "--breaker", "-1"),
        ("set", "--breaker-share", "120%"),
        ("set", "--on-dead", "cry"),
        ("set", "--allow-network", "everywhere"),
        ("set", "--allow-network", "10.0.0.1/8"),
        ("set", "--allow-network", "10.0.0.0/8", "--allow-private"),
        ("send", "-", "--dedup-key", "k"),
        ("send", "{}", "--dedup-key", ""),
        ("send", "{}", "--dedup-key", "k", "--dedup-window", "0s"),
        ("events", "--to", "orders", "--off"),
        ("events", "--throttle", "1h"),
    ],
)
def test_what_is_wrong_is_refused(conn, dsn, arguments):
    create(conn)
    done = qctl(*arguments, dsn=dsn, stdin="x")
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("Error: ")
    assert "planted" not in done.stderr.replace("'X-Api-Key: secret:NAME'", "")
    assert "Traceback" not in done.stderr
    assert (
        one(conn, "select count(*) from qctl.signing_secret")
        == one(conn, "select count(*) from qctl.header_secret")
        == 0
    )


def test_no_secret_reaches_the_servers_log_or_activity(conn, dsn):
    """With every statement and every parameter logged, what COPY carries is not."""
    create(conn)
    conn.execute("create table public.seen (query text)")
    path = one(conn, "select pg_current_logfile()") or one(conn, "select current_setting('data_directory') || '/log'")
    conn.execute("alter database {} set log_statement = 'all'".format(one(conn, "select current_database()")))
    ok("secret", "set", "token", "-", dsn=dsn, stdin="planted-1")
    ok("secret", "rotate", "--given", "-", dsn=dsn, stdin="whsec_UExBTlRFRC0yLVBMQU5URUQtMi1QTEFOVEVE")
    text = one(conn, "select pg_read_file(%s)", path)
    assert "set_header_secret" in text
    assert "planted-1" not in text
    assert "UExBTlRFRC0y" not in text


def test_header_secrets_set_used_and_unset(conn, dsn):
    create(conn)
    assert rows("secret", "set", "n8n", "env:T", dsn=dsn, T="Bearer x") == [
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


def test_a_file_declares_them_too(conn, dsn, tmp_path):
    conn.execute("create table public.carts (id int primary key, user_id int)")
    file = tmp_path / "qctl.toml"
    file.write_text(
        f"""
        [queues.orders]
        url = "{URL}"
        rate = "50/s"
        concurrency = "auto"
        breaker_after = 3
        breaker_share = 0.5
        breaker_pause = "20s"
        expect_json = {{ ok = true }}
        order_retry = ["1s", "1m"]
        allow_networks = ["10.0.0.0/8"]
        on_dead = "block"
        [queues.orders.attach."public.carts"]
        order_by = "record.user_id"
        """
    )
    ok("apply", str(file), "--yes", dsn=dsn)
    assert ok("apply", str(file), "--check", dsn=dsn).returncode == 0
    assert conn.execute("select rate_per_s, concurrency_auto, ordered, on_dead from qctl.queue").fetchone() == (
        50,
        True,
        True,
        "block",
    )
    assert one(conn, "select order_by from qctl.attachment") == "user_id"
    file.write_text(file.read_text().replace('"50/s"', '"none"'))
    assert qctl("apply", str(file), "--check", dsn=dsn).returncode == 8


def test_send_once_and_in_order(conn, dsn):
    create(conn, ordered=True)
    [first] = rows("send", "{}", "--dedup-key", "k", "--order-key", "a", dsn=dsn)
    assert first["duplicate"] is False
    done = ok("send", "{}", "--dedup-key", "k", "--order-key", "a", "-o", "json", dsn=dsn)
    assert json.loads(done.stdout) == [{**first, "duplicate": True}]
    assert "nothing was sent" in done.stderr
    ok("send", "-", "--order-key", "a", dsn=dsn, stdin="1\n2\n")
    assert len(claim(conn)) == 1


def test_attach_order_by(conn, dsn):
    create(conn)
    conn.execute("create table public.carts (id int primary key, user_id int)")
    ok("attach", "public.carts", "--order-by", "record.user_id", "--on-dead", "block", dsn=dsn)
    assert one(conn, "select on_dead from qctl.queue") == "block"
    assert qctl("attach", "public.carts", "--on-dead", "block", dsn=dsn).returncode == 2
    assert json.loads(ok("describe", "orders", "-o", "json", dsn=dsn).stdout)["attachments"][0]["order_by"] == "user_id"
    assert (
        "\"p_order_by\" => 'record.x'"
        in ok("attach", "t", "-q", "q", "--order-by", "record.x", "--sql", dsn=dsn).stdout
    )


def test_discard_frees_an_order_key(conn, dsn):
    create(conn, ordered=True, on_dead="block", order_schedule_s=[])
    ok("send", "-", "--order-key", "a", dsn=dsn, stdin="1\n2\n")
    settle(conn, claim(conn), 500)
    assert claim(conn) == []
    assert rows("discard", "1", "--yes", dsn=dsn)[0]["outcome"] == "unblocked"
    assert len(claim(conn)) == 1


def test_events(conn, dsn):
    create(conn)
    assert "nowhere" in ok("events", dsn=dsn).stderr
    [made] = rows("events", "--url", URL, dsn=dsn)
    assert made["queue_name"] == "qctl_events"
    assert made["secret"].startswith("whsec_")
    assert rows("events", dsn=dsn)[0]["url"] == URL
    assert one(conn, "select count(*) from qctl.queue") == 2
    [again] = rows("events", "--url", f"{URL}/2", "--throttle", "1h", dsn=dsn)
    assert (again["secret"], again["throttle_s"]) == (None, 3600)
    ok("pause", "-q", "orders", dsn=dsn)
    assert one(conn, "select message ->> 'type' from pgmq.q_qctl_events") == "queue.paused"
    ok("events", "--off", dsn=dsn)
    assert qctl("events", "--to", "nothing", dsn=dsn).returncode == 6


def test_create_warns_of_the_test_url_of_n8n(conn, dsn):
    done = ok("create", "a", "--url", "http://127.0.0.1:9/webhook-test/x", dsn=dsn)
    assert "/webhook-test/ answers only while its editor listens" in done.stderr
    done = ok("create", "b", "--url", "http://127.0.0.1:9/webhook/x", dsn=dsn)
    assert "--concurrency auto" in done.stderr
    assert (
        "--concurrency auto"
        not in ok("create", "c", "--url", "http://127.0.0.1:9/webhook/x", "--concurrency", "5", dsn=dsn).stderr
    )


def test_uninstall_leaves_no_message_hidden(conn, dsn):
    create(conn, ordered=True)
    ok("send", "-", "--order-key", "a", dsn=dsn, stdin="1\n2\n3\n")
    assert len(claim(conn)) == 1
    ok("uninstall", "--yes", dsn=dsn)
    assert one(conn, "select count(*) from pgmq.q_orders where isfinite(vt)") == 3
    assert one(conn, "select count(*) from pg_class where relname ~ '^qctl_order'") == 0
