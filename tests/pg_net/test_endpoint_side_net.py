"""The pg_net transport and what is done for the endpoint: signed requests, secrets, the breaker, expected answers."""

import random
import string

import psycopg
import pytest
from psycopg.types.json import Jsonb

from helpers import SECRET, create, one, send, states
from processes import wait_until
from verifier import verifying


def work_until(conn, done) -> None:
    def step() -> bool:
        conn.execute("select qctl.dispatch('orders')")
        conn.execute("select qctl.collect('orders')")
        return done()

    wait_until(step, timeout_s=60)


def test_a_thousand_random_messages_verify_at_the_endpoint(net, net_worker):
    choose = random.Random(7)
    letters = string.printable + 'äß漢字😀"\\\u2028'
    bodies = [Jsonb({"".join(choose.choices(letters, k=20)): choose.random(), "n": [n, None]}) for n in range(1000)]
    with verifying(SECRET) as verifier:
        create(net, url=verifier.url, transport="pg_net")
        net.execute("select qctl.rotate_secret('orders', %s)", [SECRET])
        net.execute("select qctl.send('orders', %s)", [bodies])
        net_worker()
        work_until(net, lambda: one(net, "select count(*) from pgmq.q_orders") == 0)
    assert len(set(verifier.taken)) == 1000
    assert verifier.refused == []


def test_header_secrets_are_refused_while_everybody_can_read_them_there(net):
    create(net, transport="pg_net")
    net.execute("select qctl.set_header_secret('token', 'hush')")
    with pytest.raises(
        psycopg.Error, match="every role of this database can read the secret in header authorization"
    ) as no:
        net.execute("""select qctl.set_queue('orders', p_headers => '{"Authorization": "secret:token"}')""")
    assert no.value.sqlstate == "QC007"
    net.execute("""select qctl.set_queue('orders', p_settings => '{"net_secrets": true}')""")
    net.execute("""select qctl.set_queue('orders', p_headers => '{"Authorization": "secret:token"}')""")
    send(net)
    net.execute("select qctl.dispatch('orders')")
    assert one(net, "select headers ->> 'authorization' from net.http_request_queue") == "hush"


def test_where_net_is_closed_they_go_without_a_flag(net):
    net.execute("revoke all on all tables in schema net from public; revoke usage on schema net from public")
    create(net, transport="pg_net")
    net.execute("select qctl.set_header_secret('token', 'hush')")
    net.execute("""select qctl.set_queue('orders', p_headers => '{"Authorization": "secret:token"}')""")


def test_the_breaker_opens_and_closes(net, net_worker, endpoint):
    receiver = endpoint("--fail-rate", "1", "--failures", "503")
    create(net, url=receiver.url, transport="pg_net", breaker_pause_max_s=1, max_in_flight=20)
    ids = send(net, 100)
    net_worker()
    work_until(net, lambda: one(net, "select pauses >= 1 from qctl.gate"))
    assert one(net, "select count(*) from qctl.attempt") <= 23
    receiver.become()
    work_until(net, lambda: one(net, "select count(*) from pgmq.q_orders") == 0)
    assert states(net, ids) == {"delivered": 100}


def test_expected_answers(net, net_worker, endpoint):
    create(net, url=endpoint().url, transport="pg_net", expect_text="never said")
    [msg_id] = send(net)
    net_worker()
    work_until(net, lambda: one(net, "select count(*) from qctl.attempt") == 1)
    assert states(net, [msg_id]) == {"retrying": 1}


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:10.0.0.1]", "localhost", "metadata.internal"]
)
def test_what_is_inside_by_its_writing_is_refused(net, host):
    with pytest.raises(psycopg.Error, match="is not a public address") as refused:
        create(net, url=f"http://{host}/x", transport="pg_net", allow_networks=[])
    assert refused.value.sqlstate == "QC007"
    create(net, url="https://hooks.example.com/x", transport="pg_net", allow_networks=[])
    with pytest.raises(psycopg.Error, match="is not a public address"):
        net.execute("select qctl.set_queue('orders', %s)", [f"http://{host}/x"])
    net.execute(
        """select qctl.set_queue('orders', %s, p_settings => '{"allow_networks": ["0.0.0.0/0", "::/0"]}')""",
        [f"http://{host}/x"],
    )


def test_a_queue_that_moves_to_pg_net_is_looked_at(net):
    create(net, url="http://10.0.0.1/x", transport="http", allow_networks=[])
    with pytest.raises(psycopg.Error, match="is not a public address"):
        net.execute("""select qctl.set_queue('orders', p_settings => '{"transport": "pg_net"}')""")
