"""A row becomes a message of a broker: what make test shows of each carrier."""

import json

import pytest
from far import FARS, Far
from standardwebhooks import Webhook

from helpers import create, one
from processes import ok


@pytest.mark.parametrize("far", FARS, indirect=True)
def test_a_row_is_handed_over_as_a_post_would_carry_it(conn, dsn, worker, far: Far):
    create(conn, url=far.url, allow_networks=["127.0.0.0/8"])
    secret = one(conn, "select secret from qctl.rotate_secret('orders')")
    conn.execute("select qctl.set_queue('orders', p_headers => '{\"x-tenant\": \"acmé\"}')")
    conn.execute("create table public.users (id int primary key, name text)")
    conn.execute("select qctl.attach('public.users', 'orders')")
    conn.execute("insert into public.users select n, repeat('é', n) from generate_series(1, 30) n")
    bodies = {row[0]: row[1] for row in conn.execute("select msg_id, message::text from pgmq.q_orders")}

    code, talk = worker("-q", "orders", "--drain").end()
    assert code == 0, talk
    assert conn.execute("select outcome, status_code, count(*) from qctl.attempt group by 1, 2").fetchall() == [
        ("delivered", 202, 30)
    ]
    received = far.read()
    assert sorted(message.body.decode() for message in received) == sorted(bodies.values())
    for message in received:
        assert message.headers["x-tenant"] == "acmé"
        assert Webhook(secret).verify(message.body, message.headers)["table"] == "users"
    ids = {json.loads(message.body)["record"]["id"]: message.webhook_id for message in received}
    assert len(set(ids.values())) == 30

    mark = one(conn, "select headers -> 'qctl' from pgmq.a_orders where (message #>> '{record,id}')::int = 7")
    assert mark["outcome"] == "delivered" and mark["receipt"] and ":" in mark["worker"]
    shown = ok("show", f"orders/{one(conn, 'select min(msg_id) from pgmq.a_orders')}", dsn=dsn).stdout
    assert "receipt: " in shown and "202" in shown
