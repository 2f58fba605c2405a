"""A server shaped like Supabase's: three commands as a role that is no superuser, direct and through its transaction pooler."""

import json

import psycopg
import pytest

from processes import ok, wait_until


@pytest.mark.timeout(240)
@pytest.mark.parametrize("through", ["direct", "transaction pooler"])
def test_from_a_fresh_server_to_the_first_delivery_in_three_commands(supabase, pooler, endpoint, through):
    receiver = endpoint()
    dsn = supabase.dsn if through == "direct" else pooler(supabase.dsn, "transaction")
    with psycopg.connect(supabase.dsn, autocommit=True) as app:
        app.execute("create table public.orders (id int primary key, paid boolean)")
        assert app.execute("select rolsuper from pg_roles where rolname = current_user").fetchone() == (False,)
    installed = ok("install", dsn=dsn)
    made = ok("create", "orders", "--url", receiver.url, "--attach", "public.orders", dsn=dsn)
    assert "pg_net" in made.stdout + made.stderr
    with psycopg.connect(supabase.dsn, autocommit=True) as app:
        app.execute("insert into public.orders values (7, true)")
    wait_until(lambda: receiver.accepted(), 100, "the first delivery")
    assert "Next: qctl create" in installed.stderr
    wait_until(lambda: json.loads(ok("depth", "-o", "json", dsn=dsn).stdout)[0]["depth"] == 0, 20, "settled")
    for arguments in (["status"], ["check"], ["doctor"], ["show", "1"], ["tail"], ["verify"], ["scale"], ["queues"]):
        ok(*arguments, dsn=dsn)
    ok("replay", "1", dsn=dsn)
    wait_until(lambda: sum(receiver.accepted().values()) == 2, 30, "the replay")
    # Writers who may not look into qctl or pgmq are captured, too.
    with psycopg.connect(supabase.dsn, autocommit=True) as app:
        app.execute("grant insert, select on public.orders to authenticated; set role authenticated")
        app.execute("insert into public.orders values (8, true)")
    wait_until(lambda: len(receiver.accepted()) == 2, 30, "the delivery of another role's row")
    ok("drop", "orders", "--yes", "--discard", dsn=dsn)
    ok("uninstall", "--yes", dsn=dsn)
    with psycopg.connect(supabase.dsn, autocommit=True) as app:
        assert app.execute("select count(*) from cron.job").fetchone() == (0,)
