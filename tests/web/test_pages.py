"""qctl web: what the pages show, what acts do, and that both are what the command line says."""

import html
import json
import re
import shlex
import threading
import time

import psycopg
import pytest

from helpers import claim, create, one, send, settle
from processes import ok, qctl
from qctl.web.database import SHARED_S

PAGES = [
    "/",
    "/queues/orders",
    "/messages",
    "/messages?queue=orders&state=dead",
    "/messages/orders/1?payload=yes",
    "/dead",
    "/workers",
    "/doctor",
]


_COUNTED = {"ok/h": "delivered_1h", "failed/h": "failed_1h", "Dead": "dead"}


@pytest.mark.parametrize("path", PAGES)
def test_each_page_is_whole_and_says_the_equal_command(busy, windows, path):
    page = windows().get(path)
    assert page.status == 200
    assert page.body.count("<h1>") == 1
    assert "<script>document" not in page.body
    command = re.search(r"The same in a terminal: <code>(qctl [^<]+)</code>", page.body)
    assert command, page.body


def test_the_numbers_are_those_of_the_command_line(busy, windows, dsn):
    page = windows().get("/").body
    (row,) = [row for row in json.loads(ok("status", "-o", "json", dsn=dsn).stdout) if row["queue_name"] == "orders"]
    line = page.partition('<th scope="row"><a href="/queues/orders"')[2].partition("</tr>")[0]
    cells = re.findall(r'<td class="n">([^<]*)</td>', line)
    assert [int(cell) for cell in cells[:5]] == [
        row[name] for name in ("depth", "ready", "in_flight", "retrying", "dead")
    ]


def test_messages_are_found_by_their_filters_and_page_by_page(busy, windows):
    window = windows()
    first = window.get("/messages?queue=orders&state=ready")
    ids = [int(one_) for one_ in re.findall(r'href="/messages/orders/(\d+)"', first.body)]
    assert ids == sorted(ids, reverse=True)
    older = re.search(r'rel="next" href="([^"]+)"', first.body)
    assert older is None
    first = window.get("/messages?queue=orders")
    older = re.search(r'rel="next" href="([^"]+)"', first.body)
    assert older
    ids = re.findall(r'href="/messages/orders/(\d+)"', first.body)
    more = re.findall(r'href="/messages/orders/(\d+)"', window.get(older[1].replace("&amp;", "&")).body)
    assert len(ids) == 50
    assert not set(ids) & set(more)
    found = window.get("/messages?queue=orders&state=dead&error=script")
    assert len(re.findall(r'href="/messages/orders/(\d+)"', found.body)) == 5
    found = window.get("/messages?queue=orders&where=%7B%22n%22%3A%2042%7D")
    assert re.findall(r'href="/messages/orders/(\d+)"', found.body) == ["42"]
    found = window.get("/messages?status_code=5xx")
    assert len(re.findall(r'href="/messages/orders/(\d+)"', found.body)) == 5
    assert "qctl messages --status-code 5xx" in found.body
    assert window.get("/messages?status_code=55").status == 400
    assert window.get("/messages?where=x").status == 400
    assert window.get("/messages?state=nonsense").status == 400
    assert window.get("/messages?since=never").status == 400
    assert window.get("/messages?before=x").status == 400


def test_it_only_reads_unless_it_is_told(busy, windows):
    window = windows()
    assert "…</a>" not in window.get("/queues/orders").body
    for verb in ("pause", "resume", "replay", "discard", "test"):
        assert window.get(f"/acts/{verb}?queue=orders&ids=1").status == 404
        assert window.post(f"/acts/{verb}", {"queue": "orders"}).status == 404


def test_each_act_shows_its_count_wants_a_reason_and_is_audited(busy, windows, conn):
    window = windows("--allow-acts")
    form = window.form("/acts/pause?queue=orders")
    assert window.post("/acts/pause", form).status == 400
    assert "is paused" in window.post("/acts/pause", {**form, "reason": "a test"}).body
    assert one(conn, "select detail ->> 'reason' from qctl.audit where verb = 'pause'") == "a test"
    assert "delivers again" in window.post("/acts/resume", window.form("/acts/resume?queue=orders")).body
    assert "1 message of orders will be delivered again" in window.get("/acts/replay?queue=orders&ids=6").body
    form = window.form("/acts/replay?queue=orders&ids=6")
    assert "1 replayed" in window.post("/acts/replay", {**form, "reason": "again"}).body
    group = re.search(r'href="(/acts/replay\?[^"]+reason_group[^"]+)"', window.get("/dead").body)
    assert group
    path = group[1].replace("&amp;", "&")
    assert re.search(r"[15] messages? of orders will be delivered again", window.get(path).body)
    form = window.form(path)
    assert "replayed" in window.post("/acts/replay", {**form, "reason": "fixed"}).body
    form = window.form("/acts/discard?queue=orders&ids=30,31")
    assert form["count"] == "2"
    assert "2 discarded" in window.post("/acts/discard", {**form, "reason": "wrong"}).body
    assert "Test event orders/" in window.post("/acts/test", window.form("/acts/test?queue=orders")).body
    audited = {row[0] for row in conn.execute("select verb from qctl.audit")}
    assert {"pause", "resume", "replay", "discard"} <= audited


def test_what_has_changed_meanwhile_is_not_acted_on(busy, windows, conn):
    window = windows("--allow-acts")
    form = window.form("/acts/discard?queue=orders&ids=30,31")
    done = window.post("/acts/discard", {**form, "ids": "30", "reason": "x"})
    assert done.status == 400
    assert "look again" in done.body
    assert one(conn, "select count(*) from qctl.dead_letter where msg_id in (30, 31)") == 0


def test_a_role_sees_and_does_what_it_may(busy, windows, conn, dsn):
    role = f"viewer_{one(conn, 'select pg_backend_pid()')}"
    conn.execute(f"create role {role} login")
    theirs = f"{dsn}&user={role}" if "?" in dsn else f"{dsn}?user={role}"
    try:
        ok("grant", role, dsn=dsn)
        window = windows("--allow-acts", uri=theirs)
        assert window.get("/").status == 200
        page = window.get("/messages/orders/1?payload=yes")
        assert page.status == 200
        assert "&#34;n&#34;" not in page.body
        refused = window.post("/acts/pause", {**window.form("/acts/pause?queue=orders"), "reason": "x"})
        assert refused.status == 403
        assert one(
            conn,
            "select paused_at is null from qctl.gate g join qctl.queue q using (queue_id) where queue_name = 'orders'",
        )
        ok("revoke", role, dsn=dsn)
        assert window.get("/dead").status in (403, 503, 500)
    finally:
        conn.execute(f"drop owned by {role}")
        conn.execute(f"drop role {role}")


def test_many_tabs_ask_once(busy, windows, conn):
    window = windows()
    window.get("/")
    for _ in range(20):
        assert window.get("/", x_qctl_part="main").status == 200
    sessions = one(conn, "select count(*) from pg_stat_activity where application_name = 'qctl web'")
    assert sessions <= 1


def test_the_database_may_go_away_and_come_back(busy, windows, conn):
    window = windows()
    assert window.get("/").status == 200
    conn.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'qctl%web%'")
    assert window.get("/workers").status == 200


def test_beyond_this_machine_somebody_has_to_be_let_in(conn, dsn):
    create(conn)
    for arguments, said in (
        (["--bind", "0.0.0.0"], "somebody has to say who gets in"),
        (["--bind", "nowhere"], "is not an address"),
        (["--token", "whatever"], "would show"),
        (["--token", "env:SHORT"], "shorter than 16"),
        (["--token", "env:SHORT", "--trust-header", "X-User"], "exclude each other"),
    ):
        refused = qctl("web", "--port", "0", *arguments, dsn=dsn, SHORT="abc")
        assert (refused.returncode, said in refused.stderr) == (2, True), refused.stderr


def test_a_queue_says_what_its_attempts_came_to(busy, windows):
    page = windows().get("/queues/orders").body
    table = page.partition("attempts by status</caption>")[2].partition("</table>")[0]
    rows = re.findall(
        r'<th scope="row">.*?(\d{3}|no answer).*?<td class="n">(\d+)</td><td class="n">([\d.]+ %)</td>', table, re.S
    )
    assert sorted(rows) == [("200", "5", "50.0 %"), ("500", "5", "50.0 %")]
    command = re.search(r"This in a terminal: <code>qctl (status [^<]+)</code>", page)
    assert command


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("queue=orders&response=script", 10),
        ("queue=orders&not_response=script&status_code=200", 0),
        ("queue=orders&until=1h", 0),
        ("queue=orders&since=15m&until=today", 0),
        ("queue=orders&since=-15m", 10),
    ],
)
def test_each_filter_means_what_it_means_on_the_command_line(busy, windows, dsn, query, found):
    page = windows().get(f"/messages?{query}").body
    assert len(re.findall(r'href="/messages/orders/(\d+)"', page)) == found
    command = html.unescape(re.search(r"The same in a terminal: <code>qctl ([^<]+)</code>", page)[1])
    listed = ok(*shlex.split(command), "-o", "json", dsn=dsn)
    assert len(json.loads(listed.stdout)) == found


def test_what_the_filters_find_can_be_replayed_at_once(busy, windows, conn):
    window = windows("--allow-acts")
    assert "all of these" not in window.get("/messages?queue=orders").body
    page = window.get("/messages?queue=orders&state=dead&status_code=500").body
    assert "Discard all" not in page
    path = html.unescape(re.search(r'href="(/acts/replay\?[^"]+)">Replay all of these', page)[1])
    asked = html.unescape(window.get(path).body)
    assert "5 messages of orders will be delivered again" in asked
    assert "qctl replay -q orders --state dead --status-code 500" in asked
    form = window.form(path)
    assert "5 replayed" in window.post("/acts/replay", {**form, "reason": "fixed"}).body
    assert one(conn, "select count(*) from qctl.dead_letter where status_code = 500") == 0
    assert "it is 0 messages now and was 5" in window.post("/acts/replay", {**form, "reason": "again"}).body
    assert window.get("/acts/discard?queue=orders").status == 400


def test_a_slow_question_holds_up_no_other_page(busy, windows, conn):
    window = windows()
    conn.execute("begin; lock table qctl.dead_letter in access exclusive mode")
    try:
        slow = [threading.Thread(target=window.get, args=("/dead",)) for _ in range(8)]
        for thread in slow:
            thread.start()
        time.sleep(1)
        started = time.monotonic()
        assert window.get("/workers").status == 200
        assert time.monotonic() - started < 5
        waiting = one(
            conn, "select count(*) from pg_stat_activity where application_name = 'qctl web' and state = 'active'"
        )
        assert waiting == 1
    finally:
        conn.execute("rollback")
        for thread in slow:
            thread.join(30)
    assert window.get("/dead").status == 200


def test_the_numbers_agree_under_load(busy, windows, conn, dsn):
    """What is counted only grows, so a page that was read between two commands shows what is between theirs."""
    window = windows()
    conn.execute("select qctl.set_queue('orders', p_settings => '{\"breaker_after\": null}')")

    def told() -> dict[str, int]:
        (row,) = [
            row for row in json.loads(ok("status", "-o", "json", dsn=dsn).stdout) if row["queue_name"] == "orders"
        ]
        return {name: row[field] for name, field in _COUNTED.items()}

    def shown() -> dict[str, int]:
        page = window.get("/").body
        heads = re.findall(r'<th scope="col"[^>]*>([^<]+)</th>', page)
        cells = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", page.partition("<tbody>")[2].partition("</tr>")[0], re.S)
        found = dict(zip(heads, cells, strict=True))
        return {name: int(found[name].replace(",", "")) for name in _COUNTED}

    stop = threading.Event()

    def load() -> None:
        with psycopg.connect(dsn, autocommit=True) as session:
            while not stop.is_set():
                send(session, 20)
                settle(session, claim(session, 20), [200, 500] * 10)

    worker = threading.Thread(target=load)
    worker.start()
    try:
        for _ in range(4):
            # Answers are remembered for a moment.
            time.sleep(SHARED_S + 0.1)
            before, page, after = told(), shown(), told()
            for name, value in page.items():
                assert before[name] <= value <= after[name], (name, before, page, after)
        assert before["ok/h"] > 20
    finally:
        stop.set()
        worker.join()
    time.sleep(SHARED_S + 0.1)
    row = conn.execute("select delivered_1h, failed_1h, dead from qctl.status where queue_name = 'orders'").fetchone()
    assert shown() == told() == dict(zip(_COUNTED, row, strict=True))
