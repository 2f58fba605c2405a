"""qctl web: what the pages show, what acts do, and that both are what the command line says."""

import html
import json
import re
import shlex
import subprocess
import threading
import time

import psycopg
import pytest

from helpers import claim, create, one, send, settle
from processes import QCTL, environment, ok, qctl, wait_until
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
    refused = window.post("/acts/pause", form)
    assert (refused.status, "a reason is needed" in refused.body) == (400, True)
    # Nothing was done, so what was shown can still be agreed to.
    again = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', refused.body))
    assert "is paused" in window.done("/acts/pause", {**again, "reason": "a test"})
    assert one(conn, "select detail ->> 'reason' from qctl.audit where verb = 'pause'") == "a test"
    asked = window.get("/acts/resume?queue=orders").body
    assert "It was paused by postgres: a test." in asked
    assert "delivers again" in window.done("/acts/resume", window.form("/acts/resume?queue=orders"))
    asked = window.get("/acts/replay?queue=orders&ids=6").body
    assert "1 message of orders, delivered already, will be sent once more" in asked
    form = window.form("/acts/replay?queue=orders&ids=6")
    assert "1 queued again" in window.done("/acts/replay", {**form, "reason": "again"})
    group = re.search(r'href="(/acts/replay\?[^"]+reason_group[^"]+)"', window.get("/dead").body)
    assert group
    path = group[1].replace("&amp;", "&")
    assert re.search(r"[15] messages? of orders, not delivered so far, will be tried again", window.get(path).body)
    form = window.form(path)
    assert "queued again" in window.done("/acts/replay", {**form, "reason": "fixed"})
    asked = window.get("/acts/discard?queue=orders&ids=30,31").body
    assert "2 messages of orders will be given up" in asked
    form = window.form("/acts/discard?queue=orders&ids=30,31")
    assert "2 discarded" in window.done("/acts/discard", {**form, "reason": "wrong"})
    assert "Test event orders/" in window.done("/acts/test", window.form("/acts/test?queue=orders"))
    audited = {row[0] for row in conn.execute("select verb from qctl.audit")}
    assert {"pause", "resume", "replay", "discard"} <= audited


def test_an_act_concerns_just_the_messages_that_were_shown(busy, windows, conn):
    window = windows("--allow-acts")
    form = window.form("/acts/discard?queue=orders&state=ready")
    shown = {row[0] for row in conn.execute("select msg_id from pgmq.q_orders")}
    settle(conn, claim(conn, 10), 200)
    later = send(conn, 10)
    done = window.done("/acts/discard", {**form, "reason": "x"})
    assert re.search(r"10 (finished already|changed meanwhile)", done), done
    assert {row[0] for row in conn.execute("select msg_id from pgmq.q_orders")} == set(later)
    assert one(conn, "select count(*) from qctl.dead_letter where msg_id = any (%s)", list(shown)) == len(shown) - 10


def test_an_act_is_done_once(busy, windows, conn):
    window = windows("--allow-acts")
    form = {**window.form("/acts/replay?queue=orders&ids=6"), "reason": "x"}
    done = window.post("/acts/replay", form)
    assert done.status == 303
    again = window.post("/acts/replay", form)
    assert (again.status, "done already" in again.body) == (400, True)
    # What was done can be looked at again and does nothing.
    assert window.get(done.headers["location"]).body == window.get(done.headers["location"]).body
    assert one(conn, "select count(*) from qctl.audit where verb = 'replay'") == 1
    other = {**window.form("/acts/discard?queue=orders&ids=30"), "reason": "x"}
    assert window.post("/acts/replay", other).status == 400


def test_an_act_is_refused_when_the_queue_is_another_one(busy, windows, conn):
    window = windows("--allow-acts")
    form = {**window.form("/acts/discard?queue=orders&ids=11,12"), "reason": "x"}
    conn.execute("select qctl.drop_queue('orders', true, true)")
    create(conn)
    send(conn, 20)
    refused = window.post("/acts/discard", form)
    assert (refused.status, "made anew" in refused.body) == (404, True)
    assert one(conn, "select count(*) from qctl.dead_letter") == 0


def test_what_cannot_be_done_has_no_button(busy, windows):
    window = windows("--allow-acts")
    for path in ("/acts/discard?queue=orders&state=delivered", "/acts/replay?queue=orders&state=ready"):
        page = window.get(path).body
        assert "there is nothing to do" in page
        assert '<button class="button' not in page
    mixed = window.get("/acts/discard?queue=orders&ids=6,30").body
    assert "1 message of orders will be given up" in mixed
    assert "Left alone, because delivered or dead already: 1 message." in mixed


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
    assert "5 messages of orders, not delivered so far, will be tried again" in asked
    assert "qctl replay -q orders --state dead --status-code 500" in asked
    form = window.form(path)
    assert "5 queued again" in window.done("/acts/replay", {**form, "reason": "fixed"})
    assert one(conn, "select count(*) from qctl.dead_letter where status_code = 500") == 0
    assert "there is nothing to do" in window.get(path).body
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


def test_many_slow_questions_leave_the_others_alone(busy, windows, conn, other):
    window = windows()
    conn.execute("begin; lock table qctl.dead_letter in access exclusive mode")
    answers: list[int] = []
    slow = [
        threading.Thread(target=lambda n=n: answers.append(window.get(f"/messages?state=dead&error={n}").status))
        for n in range(14)
    ]
    try:
        for thread in slow:
            thread.start()
        time.sleep(1)
        for path in ("/static/style.css", "/workers"):
            started = time.monotonic()
            assert window.get(path).status == 200
            assert time.monotonic() - started < 5
        asked = "select count(*) from pg_stat_activity where application_name = 'qctl web' and state = 'active'"
        wait_until(lambda: one(other, asked) == 2)
    finally:
        conn.execute("rollback")
        for thread in slow:
            thread.join(40)
    # Those that had to wait too long are told so, and come back.
    assert set(answers) == {200, 503}
    assert window.get("/messages?state=dead&error=1").status == 200


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


@pytest.mark.parametrize(
    "path", ["/queues/nope", "/messages?state=x", "/messages/orders/999999", "/acts/replay?queue=orders&state=x"]
)
def test_what_goes_wrong_is_a_page_of_ours(busy, windows, path):
    window = windows("--allow-acts", "--token", "env:T", T="a" * 32)
    assert window.post("/login", {"token": "a" * 32}).status == 303
    page = window.get(path)
    assert page.status in (400, 404)
    assert "content-security-policy" in page.headers
    assert "Sign out" in page.body


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/messages?queue=orders&where=" + "1" * 5000, 400),
        ("/acts/replay?queue=orders&where=" + "1" * 5000, 400),
        ("/messages/orders/9223372036854775808", 404),
        ("/queues/%00", 404),
        ("/messages/%00/1", 404),
        ("/acts/pause?queue=or%00ders", 404),
        ("/messages?queue=orders&error=%1b%5b201~%03%0atouch%20x", 400),
        ("/messages?queue=orders&error=%e2%80%ae", 400),
        ("/messages?before=20", 400),
        ("/messages?queue=orders&before=20&before_at=2026-01-01", 400),
    ],
)
def test_odd_values_are_refused_in_words(busy, windows, path, status):
    page = windows("--allow-acts").get(path)
    assert page.status == status
    assert "content-security-policy" in page.headers
    shown = page.body.partition("The same in a terminal")[2]
    assert not set("\x1b\x03\u202e") & set(shown)


def test_commands_do_what_they_say_when_they_are_typed_in_a_shell(busy, windows, dsn, conn):
    window = windows("--allow-acts", "--dsn", dsn, uri="")
    env = environment()
    env["PATH"] = f"{QCTL.parent}:{env['PATH']}"
    typed = 0
    for path in (*PAGES, "/messages?queue=orders&error='a b' $(false) `false`".replace(" ", "%20")):
        page = window.get(path).body
        for text in re.findall(r"(?:The same|This) in a terminal: <code>(qctl [^<]+)</code>", page):
            done = subprocess.run(
                ["sh", "-c", html.unescape(text)], env=env, capture_output=True, text=True, timeout=60, check=False
            )
            # doctor exits 8 where it finds something.
            assert done.returncode == (8 if path == "/doctor" else 0), (text, done.stderr)
            typed += 1
    assert typed >= len(PAGES) + 2
    page = window.get("/acts/discard?queue=orders&ids=30,31").body
    command = html.unescape(re.search(r"terminal: <code>(qctl [^<]+)</code>", page)[1])
    # A terminal would be asked.
    subprocess.run(["sh", "-c", f"{command} --yes"], env=env, check=True, capture_output=True, timeout=60)
    dead = conn.execute("select msg_id from qctl.dead_letter where status_code is null and msg_id > 20 order by 1")
    assert [row[0] for row in dead] == [30, 31]


def test_commands_carry_the_connection_that_was_named(busy, windows, dsn):
    window = windows("--allow-acts", "--dsn", dsn, uri="")
    for path in (
        "/",
        "/queues/orders",
        "/messages?queue=orders&state=dead",
        "/dead",
        "/doctor",
        "/acts/pause?queue=orders",
    ):
        commands = re.findall(r"<code>(qctl [^<]+)</code>", window.get(path).body)
        assert commands, path
        assert [command for command in commands if "--dsn" not in command] == [], path


def test_pages_follow_each_other_by_the_last_attempt_too(busy, windows, dsn, conn):
    settle(conn, claim(conn, 49), 200)
    window = windows()
    path, found = "/messages?queue=orders&status_code=2xx", []
    while path:
        page = window.get(path).body
        found += re.findall(r'href="/messages/(orders/\d+)"', page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        path = html.unescape(older[1]) if older else None
    assert found == ok("messages", "-q", "orders", "--status-code", "2xx", "--ids", dsn=dsn).stdout.split()
    assert len(found) == len(set(found)) > 50


def test_errors_are_forgotten_soon_and_large_payloads_at_once(busy, windows, conn):
    window = windows()
    conn.execute("alter table qctl.dead_letter rename to elsewhere")
    assert window.get("/dead").status != 200
    conn.execute("alter table qctl.elsewhere rename to dead_letter")
    time.sleep(1.2)
    assert window.get("/dead").status == 200
    conn.execute("select qctl.send('orders', array[jsonb_build_object('x', repeat('y', 3000000))])")
    last = one(conn, "select max(msg_id) from pgmq.q_orders")
    page = window.get(f"/messages/orders/{last}?payload=yes")
    assert page.status == 200
    assert len(page.body) < 400_000
    assert "characters more" in page.body


def test_two_windows_of_one_browser_do_not_end_each_other(busy, windows):
    one_window, other = windows("--allow-acts"), windows("--allow-acts")
    one_window.cookies = other.cookies
    form = one_window.form("/acts/pause?queue=orders")
    other.get("/", x_qctl_part="main")
    assert "is paused" in one_window.done("/acts/pause", {**form, "reason": "x"})


def test_a_schema_that_is_behind_is_told(busy, windows, conn):
    conn.execute("update qctl.routine set checksum = 'x' where name = 'claim'")
    window = windows()
    for path in ("/", "/queues/orders", "/doctor"):
        assert "schema_outdated" in window.get(path).body, path
