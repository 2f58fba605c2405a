"""Queues with something in them."""

import pytest

from helpers import claim, create, settle


@pytest.fixture
def full(conn):
    """A queue with a table and two captured rows."""
    create(conn)
    conn.execute("create table public.users (id int primary key)")
    conn.execute("select qctl.attach('public.users', 'orders')")
    conn.execute("insert into users values (1), (2)")
    return conn


@pytest.fixture
def busy(conn):
    """A queue with a table, a live worker, a delivered, a dead, a retrying, an in-flight and a ready message."""
    create(conn, retry_schedule_s=[60], reject_after=1)
    conn.execute("create table public.users (id int primary key)")
    conn.execute("select qctl.attach('public.users', 'orders')")
    conn.execute("select qctl.register_worker('host:1', 'http', '{orders}', '0')")
    conn.execute("update qctl.worker set last_seen_at = now() + interval '1 h'")
    conn.execute("insert into public.users select generate_series(1, 5)")
    claims = claim(conn, 4, worker=1)
    settle(conn, claims[:3], [200, 400, 503], response=[b"fine", b"bad field", b"later"])
    return conn
