"""qctl create: names, URLs, and what exists already."""

import pytest

from helpers import URL, create, one
from processes import failing, ok


@pytest.mark.parametrize("name", ["a;b", 'a"b', "a'b", "Orders", "x" * 60, "", "ä"])
def test_bad_queue_names(conn, dsn, name):
    talk = failing(2, "create", name, "--url", URL, dsn=dsn)
    assert "is not a valid queue name" in talk
    assert "Try:" in talk


@pytest.mark.parametrize("url", ["nothing", "ftp://x/", "http://u:secret@h/", "http://a b/"])
def test_bad_urls(conn, dsn, url):
    talk = failing(2, "create", "orders", "--url", url, dsn=dsn)
    assert "URL" in talk
    assert "secret" not in talk


def test_what_exists_is_refused(conn, dsn):
    create(conn)
    assert "queue 'orders' already exists" in failing(7, "create", "orders", "--url", URL, dsn=dsn)


def test_create_with_a_missing_table_makes_nothing(conn, dsn):
    failing(6, "create", "orders", "--url", URL, "--attach", "public.nosuch", dsn=dsn)
    assert one(conn, "select count(*) from qctl.queue") == one(conn, "select count(*) from pgmq.meta") == 0


def test_create_warns_of_the_test_url_of_n8n(conn, dsn):
    done = ok("create", "a", "--url", "http://127.0.0.1:9/webhook-test/x", dsn=dsn)
    assert "/webhook-test/ answers only while its editor listens" in done.stderr
    done = ok("create", "b", "--url", "http://127.0.0.1:9/webhook/x", dsn=dsn)
    assert "--concurrency auto" in done.stderr
    assert (
        "--concurrency auto"
        not in ok("create", "c", "--url", "http://127.0.0.1:9/webhook/x", "--concurrency", "5", dsn=dsn).stderr
    )
