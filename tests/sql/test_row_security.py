"""Row level security on captured tables and on pgmq's: nothing is lost without a word, and no policy runs as somebody else."""

import os
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from helpers import claim, create, make_due, one, send, settle
from qctl import db
from qctl.config import Database
from qctl.operations import migrate
from traps import attacker, caught


@pytest.fixture(scope="module")
def mallory(shared_dsn) -> Iterator[psycopg.Connection]:
    with attacker(shared_dsn) as session:
        session.execute(
            "create function public.policy() returns boolean language plpgsql as"
            " $$ begin perform public.spring('policy'); return true; end $$;"
            "create function public.raising() returns boolean language plpgsql as"
            " $$ begin perform public.spring('policy'); raise exception 'the policy says no'; end $$"
        )
        yield session


@pytest.fixture(scope="module")
def installer(shared_dsn, mallory) -> Iterator[psycopg.Connection]:
    with psycopg.connect(shared_dsn, autocommit=True) as session:
        create(session)
        yield session


@pytest.mark.parametrize("policy", ["false", "public.policy()", "public.raising()"])
@pytest.mark.parametrize(("force", "by_row"), [("", False), ("force", False), ("force", True)])
def test_policies_of_a_captured_table_neither_hide_nor_run(installer, mallory, shared_dsn, policy, force, by_row):
    """Rows that a policy let in are in the transition tables; qctl asks the table itself nothing."""
    mallory.execute(
        "create table public.guarded (id int); alter table public.guarded enable row level security;"
        f"create policy p on public.guarded using ({policy}) with check (true)"
    )
    try:
        if force:
            mallory.execute("alter table public.guarded force row level security")
        caught(shared_dsn)
        installer.execute(
            "select qctl.attach('public.guarded', 'orders', '{INSERT}', 'new.id > 0', p_replicated => %s)", [by_row]
        )
        installer.execute("select from qctl.verify(); select from qctl.doctor(); select from qctl.check()")
        mallory.execute("insert into public.guarded values (1), (2)")
        installer.execute("insert into public.guarded values (3)")
        assert caught(shared_dsn) == set()
        found = installer.execute("delete from pgmq.q_orders returning message -> 'record' -> 'id'").fetchall()
        assert sorted(found) == [(1,), (2,), (3,)]
        if force and policy == "public.policy()":
            mallory.execute("select from public.guarded")
            assert caught(shared_dsn) == {("policy", mallory.info.user)}
    finally:
        installer.execute("select qctl.detach('public.guarded')")
        mallory.execute("drop table public.guarded")


def test_row_security_of_the_queue_does_not_keep_an_owners_events_out(installer, mallory):
    mallory.execute("create table public.kept_out (id int)")
    installer.execute("select qctl.attach('public.kept_out', 'orders')")
    installer.execute("alter table pgmq.q_orders enable row level security")
    try:
        before = one(installer, "select count(*) from pgmq.q_orders")
        mallory.execute("insert into public.kept_out values (1)")
        assert one(installer, "select count(*) from pgmq.q_orders") == before + 1
    finally:
        installer.execute("alter table pgmq.q_orders disable row level security")
        installer.execute("select qctl.detach('public.kept_out')")
        mallory.execute("drop table public.kept_out")


@pytest.fixture(scope="module")
def owner(server) -> Iterator[psycopg.Connection]:
    """Has installed qctl and is no superuser: row level security binds it where it is forced."""
    name = f"row_security_{os.getpid()}"
    with psycopg.connect(server.uri(), autocommit=True) as admin:
        admin.execute(f"create role {name} login; grant pg_monitor to {name} with admin option")
        admin.execute(f"create database {name} template template0 owner {name}")
        uri = make_conninfo(server.uri(name), user=name)
        with db.connect(Database(uri, "test"), application="test") as installing:
            migrate.apply(installing)
        with psycopg.connect(uri, autocommit=True) as session:
            session.execute("select qctl.arm()")
            session.execute(
                "create function public.raising() returns boolean language plpgsql as"
                " $$ begin raise exception 'the policy says no'; end $$"
            )
            yield session
        admin.execute(f"drop database {name} with (force)")
        admin.execute(f"drop role {name}")


@pytest.fixture
def hidden(owner) -> Iterator[psycopg.Connection]:
    """A queue with three messages, of which forced row level security shows two, and a worker that serves it."""
    create(owner)
    send(owner, 3)
    owner.execute(
        "create policy hiding on pgmq.q_orders using (msg_id <> 2) with check (true);"
        "alter table pgmq.q_orders enable row level security; alter table pgmq.q_orders force row level security"
    )
    owner.execute("select qctl.register_worker('w', 'http', '{orders}', '0')")
    yield owner
    owner.execute(
        "alter table pgmq.q_orders no force row level security; alter table pgmq.a_orders no force row level security"
    )
    owner.execute("select qctl.drop_queue('orders', true, true)")


@pytest.mark.parametrize(
    "statement",
    [
        "select qctl.drop_queue('orders')",
        "select qctl.drop_queue('orders', true)",
        "select qctl.drop_queue('orders', true, true)",
        "select qctl._drop_begin('orders', true)",
    ],
)
def test_a_queue_is_not_dropped_while_messages_are_hidden(hidden, statement):
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="affected by row-level security"):
        hidden.execute(statement)
    hidden.execute("alter table pgmq.q_orders no force row level security")
    assert one(hidden, "select count(*) from pgmq.q_orders") == 3
    assert one(hidden, "select unfinished from qctl.undelivered('orders')") == 3


def test_what_is_hidden_counts_as_unknown_and_doctor_says_who_is_to_blame(hidden):
    assert one(hidden, "select count(*) from qctl.depth('orders')") == 0
    assert one(hidden, "select unfinished from qctl.undelivered('orders')") is None
    assert hidden.execute("select depth, reason ~ 'row level security' from qctl.status").fetchall() == [(None, True)]
    found = hidden.execute("select * from qctl.doctor()").fetchall()
    advice = [row[-1] for row in found if "row level security hides rows of pgmq.q_orders" in row[-2]]
    assert len(advice) == 1
    hidden.execute(advice[0])
    assert one(hidden, "select depth from qctl.depth('orders')") == 3
    assert len(claim(hidden)) == 3


def test_what_a_policy_hides_while_it_is_in_flight_stays_in_the_queue(hidden):
    claims = claim(hidden)
    assert [c.msg_id for c in claims] == [1, 3]
    hidden.execute("alter policy hiding on pgmq.q_orders using (false)")
    assert settle(hidden, claims, [200, 400]) == {"late": 2}
    hidden.execute("alter table pgmq.q_orders no force row level security")
    assert one(hidden, "select count(*) from pgmq.q_orders") == 3
    make_due(hidden)
    assert settle(hidden, claim(hidden), 200) == {"delivered": 3}


def test_an_archive_that_takes_nothing_makes_settling_fail_and_loses_nothing(hidden):
    claims = claim(hidden)
    hidden.execute(
        "alter table pgmq.a_orders enable row level security; alter table pgmq.a_orders force row level security"
    )
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        settle(hidden, claims, 200)
    hidden.execute("alter table pgmq.a_orders no force row level security")
    assert settle(hidden, claims, 200) == {"delivered": 2}
    assert one(hidden, "select count(*) from pgmq.a_orders") == 2


def test_a_policy_that_raises_is_heard_and_holds_up_no_other_queue(hidden):
    create(hidden, "second")
    send(hidden, name="second")
    hidden.execute("alter policy hiding on pgmq.q_orders using (public.raising())")
    for statement in ("select qctl.claim('orders', 1)", "select qctl.send('orders', array['1']::jsonb[])"):
        with pytest.raises(psycopg.errors.RaiseException, match="the policy says no"):
            hidden.execute(statement)
    hidden.execute("call qctl.maintenance('1 s')")
    assert hidden.execute("select queue_name, depth from qctl.status order by 1").fetchall() == [
        ("orders", None),
        ("second", 1),
    ]
    assert settle(hidden, claim(hidden, name="second"), 200, name="second") == {"delivered": 1}
    hidden.execute("select qctl.drop_queue('second', true, true)")


def test_a_queue_whose_waiting_messages_are_hidden_is_not_adopted_as_if_it_were_empty(owner):
    owner.execute(
        "select pgmq.create('adopted'); select pgmq.send('adopted', '{}');"
        "alter table pgmq.q_adopted enable row level security; alter table pgmq.q_adopted force row level security"
    )
    for statement in ("select qctl.create_queue('adopted', 'https://example.com/')", "select qctl.waiting('adopted')"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="affected by row-level security"):
            owner.execute(statement)
    owner.execute("alter table pgmq.q_adopted no force row level security")
    assert one(owner, "select qctl.waiting('adopted')") == 1
