"""Signing: what goes out verifies with the public library, for as long as its secret lives; header secrets are never missing."""

import base64
import os
import random
import string

import psycopg
import pytest
from psycopg.types.json import Jsonb
from standardwebhooks import Webhook, WebhookVerificationError

from helpers import claim, create, make_due, one, send, settle

VECTOR = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def queue(conn):
    create(conn)
    return conn


def rotate(conn, secret: str | None = None, overlap: str = "24 h") -> str:
    return one(conn, "select secret from qctl.rotate_secret('orders', %s, %s)", secret, overlap)


def verifies(secret: str, message) -> bool:
    try:
        Webhook(secret).verify(message.body, message.headers)
    except WebhookVerificationError:
        return False
    return True


def test_the_public_vector(queue):
    rotate(queue, VECTOR)
    signature = one(
        queue,
        """select qctl._signature(inner_pad, outer_pad,
                                  convert_to('msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}', 'UTF8'))
           from qctl.signing_secret""",
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_thousand_random_messages_verify(queue):
    secret = rotate(queue)
    seeds = random.Random(8)

    def text() -> str:
        return "".join(seeds.choices(string.printable + 'äß漢字😀"\\', k=seeds.randrange(300)))

    bodies = [Jsonb({text(): [text(), seeds.random(), None, {"n": seeds.getrandbits(60)}]}) for _ in range(1000)]
    queue.execute("select qctl.send('orders', %s)", [bodies])
    claimed = claim(queue, 1000)
    assert len(claimed) == 1000
    assert all(verifies(secret, message) for message in claimed)
    assert not any(verifies(VECTOR, message) for message in claimed)


def test_without_a_secret_nothing_is_signed(queue):
    send(queue)
    assert "webhook-signature" not in claim(queue)[0].headers


def test_rotation_signs_with_both_and_then_with_the_new_one_alone(queue):
    old = rotate(queue)
    send(queue)
    [first] = claim(queue)
    settle(queue, [first], 500)
    new = rotate(queue)
    make_due(queue)
    [second] = claim(queue)
    assert len(second.headers["webhook-signature"].split(" ")) == 2
    assert verifies(old, second) and verifies(new, second)
    assert second.headers["webhook-id"] == first.headers["webhook-id"]
    settle(queue, [second], 500)
    queue.execute("update qctl.signing_secret set expires_at = clock_timestamp() where expires_at is not null")
    make_due(queue)
    [third] = claim(queue)
    assert verifies(new, third) and not verifies(old, third)


def test_each_attempt_is_signed_with_its_own_time(queue):
    secret = rotate(queue)
    send(queue)
    [first] = claim(queue)
    settle(queue, [first], 500)
    queue.execute("select pg_sleep(1.1)")
    make_due(queue)
    [second] = claim(queue)
    assert int(second.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"])
    assert second.headers["webhook-signature"] != first.headers["webhook-signature"]
    assert verifies(secret, second)


def test_a_message_cannot_bring_its_own_signature(queue):
    secret = rotate(queue)
    queue.execute("""insert into pgmq.q_orders (vt, message, headers)
                     values (now(), '{}', '{"webhook-signature": "v1,AAAA", "Webhook-Id": "msg_x"}')""")  # fmt: skip
    [message] = claim(queue)
    assert verifies(secret, message)
    assert not {name for name in message.headers if name.lower().startswith("webhook-") and name != name.lower()}


@pytest.mark.parametrize("size", [24, 32, 64])
@pytest.mark.parametrize("form", ["whsec_{}", "v1,whsec_{}", "{}"])
def test_secrets_of_others_come_in_and_go_out(queue, size, form):
    key = base64.b64encode(os.urandom(size)).decode()
    assert rotate(queue, form.format(key.rstrip("="))) == f"whsec_{key}"
    send(queue)
    assert verifies(f"whsec_{key}", claim(queue)[0])


@pytest.mark.parametrize("secret", ["whsec_", "whsec_AAAA", "whsec_" + "A" * 200, "not base64 !", "whsec_ä"])
def test_what_is_no_secret_is_refused_and_not_repeated(queue, secret):
    with pytest.raises(psycopg.Error) as refused:
        rotate(queue, secret)
    assert refused.value.sqlstate == "QC002"
    assert secret == "whsec_" or secret not in str(refused.value)


def test_revoking(queue):
    old, new = rotate(queue), rotate(queue)
    [newest, oldest] = [row[0] for row in queue.execute("select secret_id from qctl.signing_secrets('orders')")]
    assert queue.execute("select secret_id, left_signing from qctl.revoke_secret('orders')").fetchall() == [(oldest, 1)]
    send(queue)
    [message] = claim(queue)
    assert verifies(new, message) and not verifies(old, message)
    with pytest.raises(psycopg.Error, match="would go out unsigned"):
        queue.execute("select qctl.revoke_secret('orders', %s)", [newest])
    queue.execute("select qctl.revoke_secret('orders', %s, true)", [newest])
    assert one(queue, "select count(*) from qctl.signing_secret") == 0


def test_taking_the_newest_back_leaves_the_one_before_for_good(queue):
    old, _ = rotate(queue), rotate(queue)
    newest = one(queue, "select max(secret_id) from qctl.signing_secret")
    queue.execute("select qctl.revoke_secret('orders', %s)", [newest])
    assert queue.execute("select expires_at from qctl.signing_secret").fetchall() == [(None,)]
    send(queue)
    assert verifies(old, claim(queue)[0])


@pytest.mark.parametrize("overlap", ["24 h", "0 s"])
def test_an_old_secret_can_be_made_the_new_one_again(queue, overlap):
    old = rotate(queue)
    rotate(queue, overlap=overlap)
    assert rotate(queue, old) == old
    assert one(queue, "select mark from qctl.signing_secrets('orders') where expires_at is null") == one(
        queue, "select mark from qctl.signing_secrets('orders') order by secret_id desc limit 1"
    )


def test_doctor_tells_of_a_queue_whose_last_secret_has_expired(queue):
    rotate(queue)
    queue.execute("update qctl.signing_secret set expires_at = clock_timestamp()")
    assert "go out unsigned" in str(queue.execute("select problem from qctl.doctor()").fetchall())


def test_a_header_that_names_no_secret_is_warned_of(queue):
    notices = []
    queue.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    with_header(queue, "secret:nothere")
    assert notices == ["the queue does not deliver until secret:nothere exists"]
    assert queue.execute("select reference, there from qctl.header_secrets()").fetchall() == [("secret:nothere", False)]


def test_secrets_are_in_no_list_and_no_audit(queue):
    secret = rotate(queue)
    queue.execute("select qctl.set_header_secret('token', 'Bearer planted')")
    shown = [
        str(queue.execute(f"select * from {what}").fetchall())
        for what in ("qctl.signing_secrets()", "qctl.header_secrets()", "qctl.audit", "qctl.describe('orders')")
    ]
    assert not any(secret.removeprefix("whsec_") in text or "planted" in text for text in shown)


def test_the_same_secret_twice_is_refused(queue):
    secret = rotate(queue)
    with pytest.raises(psycopg.Error, match="already signs with this secret"):
        rotate(queue, secret)


def with_header(conn, value: str) -> None:
    conn.execute("select qctl.set_queue('orders', p_headers => %s)", [Jsonb({"Authorization": value})])


def test_a_header_secret_is_put_in_at_the_claim(queue):
    with_header(queue, "secret:token")
    queue.execute("select qctl.set_header_secret('token', E'Bearer one\\n')")
    send(queue, 2)
    assert claim(queue, 1)[0].headers["authorization"] == "Bearer one"
    assert one(queue, "select used_by from qctl.set_header_secret('token', 'Bearer two')") == ["orders"]
    assert claim(queue, 1)[0].headers["authorization"] == "Bearer two"


def test_without_its_secret_nothing_goes_out(queue):
    with_header(queue, "secret:token")
    [msg_id] = send(queue)
    with pytest.raises(psycopg.Error, match="queue 'orders' cannot deliver because secret:token is missing") as refused:
        claim(queue)
    assert refused.value.diag.message_hint == "qctl secret set token"
    assert one(queue, "select state from qctl.message('orders', %s)", msg_id) == "ready"
    assert one(queue, "select count(*) from qctl.in_flight") == 0
    queue.execute("select qctl.set_header_secret('token', 'x')")
    with pytest.raises(psycopg.Error, match="secret 'token' is in use by orders"):
        queue.execute("select qctl.drop_header_secret('token')")


def test_a_messages_header_never_names_a_secret(queue):
    queue.execute("select qctl.set_header_secret('token', 'planted')")
    queue.execute("""select qctl.send('orders', array['{}']::jsonb[], '{"X-Mine": "secret:token"}')""")
    assert claim(queue)[0].headers["x-mine"] == "secret:token"


def test_supabase_vault(queue):
    with_header(queue, "vault:n8n")
    send(queue)
    with pytest.raises(psycopg.Error, match="vault:n8n is missing"):
        claim(queue)
    # The view that Supabase's Vault has, in the columns that are read.
    queue.execute(
        "create schema vault; create table vault.decrypted_secrets (name text, decrypted_secret text, created_at timestamptz)"
    )
    queue.execute("insert into vault.decrypted_secrets values ('n8n', 'from the vault', now())")
    assert claim(queue)[0].headers["authorization"] == "from the vault"
    assert queue.execute("select reference, there from qctl.header_secrets()").fetchall() == [("vault:n8n", True)]


@pytest.mark.parametrize("value", ["", "two\nlines", "x" * 5000])
def test_values_that_are_no_header(queue, value):
    with pytest.raises(psycopg.Error) as refused:
        queue.execute("select qctl.set_header_secret('token', %s)", [value])
    assert refused.value.sqlstate == "QC002"
