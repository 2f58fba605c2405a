"""The state machine: claim, settle, lapse, replay, each event of design's table in SQL."""


def test_smoke(conn):
    conn.execute("select * from qctl.create_queue('orders', 'http://127.0.0.1:1/x')")
    conn.execute("select qctl.send('orders', array['{\"a\":1}','{\"a\":2}']::jsonb[])")
    rows = conn.execute("select * from qctl.claim('orders', 10)").fetchall()
    assert len(rows) == 2
    print(rows)
    lease = rows[0][1]
    r = conn.execute(
        "select * from qctl.settle('orders', %s, %s, %s, %s, %s, %s, %s)",
        ([lease] * 2, [1, 2], [200, 500], [None, "x"], [b"ok", b"\x00\xff"], [1, 2], [None, None]),
    ).fetchall()
    print(r)
    print(conn.execute("select * from qctl.status").fetchall())
    print(conn.execute("select * from qctl.message('orders', 2)").fetchall())
    print(conn.execute("select * from qctl.replay('orders', '{1,2,3}')").fetchall())
    print(conn.execute("select * from qctl.attempt").fetchall())
    conn.execute("create table public.users (id int primary key, name text, paid bool)")
    print(conn.execute("select * from qctl.attach('public.users','orders')").fetchall())
    conn.execute(
        "insert into users select i, 'n', false from generate_series(1,3) i; update users set paid = true where id < 3; update users set paid=paid; delete from users"
    )
    for r in conn.execute("select msg_id, message from pgmq.q_orders order by 1"):
        print(r)
    print(conn.execute("select * from qctl.detach('public.users')").fetchall())
    conn.execute(
        "select * from qctl.attach('public.users','orders', p_when => 'new.paid', p_columns => '{paid}', p_operations => '{INSERT,UPDATE}', p_payload=>'supabase')"
    ).fetchall()
    conn.execute(
        "insert into users select i, 'n', false from generate_series(1,3) i; update users set paid = true where id < 3; update users set name='z'; delete from users"
    )
    for r in conn.execute("select msg_id, message from pgmq.q_orders order by 1"):
        print(r)
    print(conn.execute("select * from qctl.purge('orders','0')").fetchall())
    print(conn.execute("select * from qctl.upkeep()").fetchall())
