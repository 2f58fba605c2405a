"""The shape of a payload: an expression or a format makes it, as the table's owner, and no error of it reaches a writer."""

import json

import psycopg
import pytest

from helpers import create, one

ORDER = "(1, 'ada', 30.5, '{\"vip\": true}')"


@pytest.fixture
def shop(conn):
    """A table of a role that is no superuser, with a queue and a table to join."""
    create(conn)
    role = f"owner_{one(conn, 'select pg_backend_pid()')}"
    conn.execute(f"create role {role}")
    conn.execute(f"create schema shop authorization {role}")
    conn.execute(f"set role {role}")
    conn.execute("create table shop.customer (id bigint primary key, name text)")
    conn.execute("insert into shop.customer values (7, 'Ada')")
    conn.execute(
        "create table shop.orders (id bigint primary key, customer text, total numeric, extra jsonb,"
        " customer_id bigint default 7)"
    )
    conn.execute("reset role")
    yield conn
    conn.execute(f"drop owned by {role} cascade")
    conn.execute(f"drop role {role}")


def attach(conn: psycopg.Connection, body: str | None, **options) -> None:
    named = "".join(f", p_{name} => %({name})s" for name in options)
    conn.execute(f"select qctl.attach('shop.orders', 'orders', p_body => %(body)s{named})", {"body": body, **options})


def sent(conn: psycopg.Connection) -> list:
    return [row[0] for row in conn.execute("select message from pgmq.q_orders order by msg_id")]


def insert(conn: psycopg.Connection, row: str = ORDER) -> None:
    conn.execute(f"insert into shop.orders values {row}")


@pytest.mark.parametrize("level", ["statement", "row"])
def test_the_expression_makes_the_payload_of_each_operation(shop, level):
    if level == "row":
        shop.execute("create table shop.child () inherits (shop.orders)")
        shop.execute(
            "alter table shop.child owner to "
            + one(shop, "select pg_get_userbyid(relowner) from pg_class where relname = 'orders'")
        )
    attach(
        shop,
        "jsonb_build_object('op', operation, 'id', coalesce(new.id, old.id), 'was', old.total, 'total', new.total)",
    )
    insert(shop)
    shop.execute("update shop.orders set total = 40")
    shop.execute("delete from shop.orders")
    assert sent(shop) == [
        {"op": "INSERT", "id": 1, "was": None, "total": 30.5},
        {"op": "UPDATE", "id": 1, "was": 30.5, "total": 40},
        {"op": "DELETE", "id": 1, "was": 40, "total": None},
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("jsonb_build_object('id', new.id)", {"id": 1}),
        ("to_jsonb(new) - 'extra' - 'customer_id'", {"id": 1, "customer": "ada", "total": 30.5}),
        ("(select jsonb_build_object('name', c.name) from shop.customer c where c.id = new.customer_id)", {"name": "Ada"}),
        ("(select r from (select new.id, new.total) r)", {"id": 1, "total": 30.5}),
        ("new.extra", {"vip": True}),
        ("json_build_array(new.id, 'x')", [1, "x"]),
        ("new.total", 30.5),
        ("new.customer || ' -- ; $1 %s %1$s '' ' || $q$ \\ $q$", "ada -- ; $1 %s %1$s '  \\ "),
        ("new.id -- a comment", 1),
        ("case when new.total > 10 then jsonb_build_object('large', true) else to_jsonb(new) end", {"large": True}),
    ],
)  # fmt: skip
def test_expressions(shop, body, expected):
    attach(shop, body)
    insert(shop)
    assert sent(shop) == [expected]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("new.nothing", "write columns as new.total"),
        ("total", "write columns as new.total"),
        ("(select name from customer limit 1)", "with their schema"),
        ("new.id); drop table shop.customer; select (1", "for example --body"),
        ("new.id)) from (select 1) x; select ((1", "for example --body"),
        ("1) as a, (2", "for example --body"),
        ("no_such_function(new.id)", "with their schema"),
        ("", None),
    ],
)
def test_what_is_no_expression_is_refused(shop, body, why):
    if why is None:
        attach(shop, body)
        assert one(shop, "select body_sql is null from qctl.attachment")
        return
    with pytest.raises(psycopg.errors.Error) as refused:
        attach(shop, body)
    assert refused.value.sqlstate == "QC002"
    assert why in refused.value.diag.message_hint
    assert one(shop, "select count(*) from shop.customer") == 1


HOSTILE = {
    "an error": "1 / (new.id - new.id)",
    "an error of another class": "('x' || new.id)::integer",
    "null": "null::jsonb",
    "raises": "shop.raises()",
    "asserts": "shop.asserts()",
    "recursion": "shop.recursive(1)",
    "writes to its own table": "shop.writes()",
    "too large": "to_jsonb(repeat(md5(new.id::text), 100000))",
    "larger than a value may be": "to_jsonb(repeat('x', 300000000) || repeat('y', 300000000))",
    "may not read": "(select count(*) from qctl.queue)",
    "several rows": "(select name from (values (1), (2)) v (name))",
    "zero byte": "to_jsonb(chr(0))",
    "ends the transaction": "shop.commits()",
    "drops the table": "shop.drops()",
    "reads the secret": "(select to_jsonb(s) from qctl.signing_secret s limit 1)",
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("operation", ["INSERT", "UPDATE"])
def test_no_error_of_a_body_reaches_the_writer(shop, what, operation):
    role = one(shop, "select nspowner::regrole::text from pg_namespace where nspname = 'shop'")
    shop.execute(f"set role {role}")
    for name, body in {
        "raises": "begin raise exception 'no: %', 'secret value'; end",
        "asserts": "begin assert false; end",
        "writes": "begin insert into shop.orders select max(id) + 1 from shop.orders; return '{}'; end",
        "commits": "begin commit; return '{}'; end",
        "drops": "begin drop table shop.orders; return '{}'; end",
    }.items():
        shop.execute(f"create function shop.{name}() returns jsonb language plpgsql as $$ {body} $$")
    shop.execute(
        "create function shop.recursive(n integer) returns jsonb language plpgsql as"
        " $$ begin return shop.recursive(n + 1); end $$"
    )
    shop.execute("reset role")
    if operation == "UPDATE":
        insert(shop)
    attach(shop, HOSTILE[what], operations=[operation])
    if operation == "INSERT":
        insert(shop)
    else:
        shop.execute("update shop.orders set total = 31")
    assert one(shop, "select total from shop.orders where id = 1") == (30.5 if operation == "INSERT" else 31)
    if what == "writes to its own table":
        marked = [message for message in sent(shop) if "body_failed" in message]
        assert [message["body_failed"] for message in marked] == [
            "triggers call each other, 16 deep"
        ] or operation == "UPDATE"
        return
    first = sent(shop)[-1]
    assert first["record"]["id"] == 1
    assert first["body_failed"]
    assert "secret value" not in json.dumps(first)
    assert first["record"]["customer"] == "ada"
    (problem,) = shop.execute("select problem, fix from qctl._verify_attachments()").fetchall()
    assert "hold the whole row instead" in problem[0]
    assert problem[1] == "qctl attach shop.orders -q orders --change"


def test_nothing_runs_as_the_installer(shop):
    role = one(shop, "select nspowner::regrole::text from pg_namespace where nspname = 'shop'")
    shop.execute(f"set role {role}")
    shop.execute("create function shop.who() returns jsonb language sql as $$ select to_jsonb(current_user) $$")
    shop.execute("reset role")
    attach(shop, "shop.who()")
    insert(shop)
    assert sent(shop) == [role]


def test_a_planted_search_path_brings_nothing_into_the_capture(shop):
    role = one(shop, "select nspowner::regrole::text from pg_namespace where nspname = 'shop'")
    shop.execute(f"set role {role}")
    shop.execute(
        "create function shop.plants() returns jsonb language plpgsql as"
        " $$ begin perform set_config('search_path', 'shop, pg_catalog', true); return '{}'; end $$"
    )
    shop.execute(
        "create function shop.clock_timestamp() returns timestamptz language plpgsql as"
        " $$ begin raise exception 'planted'; end $$"
    )
    shop.execute("reset role")
    attach(shop, "shop.plants()")
    insert(shop)
    assert sent(shop) == [{}]


def test_a_renamed_column_is_followed_and_a_dropped_one_is_named(shop):
    attach(shop, "jsonb_build_object('sum', new.total, 'customer', new.customer)")
    shop.execute("alter table shop.orders rename total to amount")
    insert(shop)
    assert sent(shop)[0]["body_failed"].startswith("the body cannot be computed")
    problem, fix = shop.execute("select problem, fix from qctl._verify_attachments()").fetchone()
    assert "is called amount now" in problem
    shop.execute("select qctl.change_attachment('shop.orders', 'orders')")
    assert (
        one(shop, "select body_sql from qctl.attachment")
        == "jsonb_build_object('sum', new.amount, 'customer', new.customer)"
    )
    assert shop.execute("select * from qctl._verify_attachments()").fetchall() == []
    shop.execute("update shop.orders set amount = 2")
    assert sent(shop)[1] == {"sum": 2, "customer": "ada"}
    shop.execute("alter table shop.orders drop customer")
    problem, fix = shop.execute("select problem, fix from qctl._verify_attachments()").fetchone()
    assert fix == "qctl attach shop.orders -q orders --change --body ''"
    shop.execute("select qctl.change_attachment('shop.orders', 'orders', '{\"body_sql\": \"\"}')")
    assert shop.execute("select * from qctl._verify_attachments()").fetchall() == []
    shop.execute("update shop.orders set amount = 3")
    assert sent(shop)[2]["record"]["amount"] == 3


def test_what_was_held_goes_out_in_its_shape(shop):
    attach(shop, "jsonb_build_object('id', new.id)", when="new.total > 10", operations=["INSERT"])
    shop.execute("alter table shop.orders rename total to amount")
    insert(shop)
    assert one(shop, "select count(*) from qctl.held_event") == 1
    shop.execute("select qctl.change_attachment('shop.orders', 'orders')")
    assert shop.execute("select queued from qctl.release_held('shop.orders', 'orders')").fetchone() == (1,)
    assert sent(shop) == [{"id": 1}]


def test_an_order_key_is_taken_from_the_row_whatever_the_body(shop):
    attach(shop, "jsonb_build_object('id', new.id)", order_by="customer")
    insert(shop)
    assert one(shop, "select headers ->> 'x-pgmq-group' from pgmq.q_orders") == "ada"
    assert sent(shop) == [{"id": 1}]


def test_cloudevents(shop):
    attach(shop, None, payload="cloudevents", order_by="customer")
    insert(shop)
    shop.execute("truncate shop.orders")
    message, headers = shop.execute("select message, headers from pgmq.q_orders").fetchone()
    database = one(shop, "select current_database()")
    assert message["specversion"] == "1.0"
    assert message["source"] == f"/{database}/shop/orders"
    assert message["type"] == "shop.orders.insert"
    assert message["datacontenttype"] == "application/json"
    assert message["data"]["record"]["id"] == 1
    assert headers["content-type"].startswith("application/cloudevents+json")
    assert {name: headers[f"ce-{name}"] for name in ("id", "source", "type", "time", "specversion")} == {
        name: message[name] for name in ("id", "source", "type", "time", "specversion")
    }
    assert headers["x-pgmq-group"] == "ada"
    claimed = shop.execute("select headers from qctl.claim('orders', 10)").fetchone()[0]
    assert claimed["content-type"] == headers["content-type"]
    assert claimed["ce-id"] == message["id"]


def test_cloudevents_with_a_body_have_it_as_data_and_a_truncate_its_own(shop):
    attach(shop, "jsonb_build_object('id', new.id)", payload="cloudevents", operations=["INSERT", "TRUNCATE"])
    insert(shop)
    shop.execute("truncate shop.orders")
    first, second = sent(shop)
    assert first["data"] == {"id": 1}
    assert second["type"] == "shop.orders.truncate"


def test_pg_net_takes_no_cloudevents(shop):
    shop.execute("update qctl.queue set transport = 'pg_net'")
    with pytest.raises(psycopg.errors.Error, match="pg_net can send only"):
        attach(shop, None, payload="cloudevents")
    with pytest.raises(psycopg.errors.Error, match="pg_net can send only"):
        shop.execute("select qctl.set_event_route('orders', 0, 'cloudevents')")


def test_slack_and_discord_say_what_changed(shop):
    attach(shop, None, payload="slack")
    create(shop, "chat")
    shop.execute("select qctl.attach('shop.orders', 'chat', p_payload => 'discord')")
    insert(shop, "(1, '<!channel> & @everyone', 30.5, null)")
    shop.execute("update shop.orders set total = 31")
    inserted, updated = sent(shop)
    assert inserted == {
        "text": "insert shop.orders: id 1, total 30.5, customer &lt;!channel&gt; &amp; @everyone, customer_id 7"
    }
    assert updated["text"].startswith("update shop.orders: total 30.5 -&gt; 31, id 1")
    message = one(shop, "select message from pgmq.q_chat order by msg_id limit 1")
    assert message["content"].startswith("insert shop.orders: id 1")
    assert message["allowed_mentions"] == {"parse": []}


def test_a_text_for_slack(shop):
    attach(shop, "format('Order %s: *%s*', new.id, new.total)", payload="slack")
    insert(shop)
    assert sent(shop) == [{"text": "Order 1: *30.5*"}]


def test_operational_events_have_a_format_too(shop):
    create(shop, "ops")
    assert shop.execute("select * from qctl.set_event_route('ops', 0, 'slack')").fetchone() == ("ops", 0, "slack", True)
    shop.execute("select qctl.pause('orders')")
    text = one(shop, "select message ->> 'text' from pgmq.q_ops")
    assert text.startswith(f"qctl queue.paused: database {one(shop, 'select current_database()')}, queue orders")
    shop.execute("select qctl.set_event_route('ops', 0, 'cloudevents')")
    shop.execute("select qctl.resume('orders'), qctl.pause('orders')")
    message, headers = shop.execute("select message, headers from pgmq.q_ops order by msg_id desc limit 1").fetchone()
    assert message["type"] == "qctl.queue.paused"
    assert headers["ce-type"] == "qctl.queue.paused"
    with pytest.raises(psycopg.errors.Error, match="is not a format"):
        shop.execute("select qctl.set_event_route('ops', 0, 'teams')")
