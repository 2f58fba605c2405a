"""Attacks on qctl web: nobody gets in who should not, and nothing that is shown is executed."""

import re
import socket
import time
from contextlib import suppress
from urllib.parse import urlencode

import pytest

from helpers import one

TOKEN = "a-token-that-is-long-enough"


@pytest.fixture
def acting(busy, windows):
    return windows("--allow-acts")


@pytest.fixture
def locked(busy, windows):
    return windows("--token", "env:WEB_TOKEN", WEB_TOKEN=TOKEN)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "localhost", "localhost:1", "127.0.0.1", "127.1:{port}",
     "localhost.evil.example:{port}", "", "[::1]", "localhost:{port}.evil.example", "evil.example#localhost:{port}",
     "LOCALHOST:{port}@evil.example", "0.0.0.0:{port}", "2130706433:{port}"],
)  # fmt: skip
def test_another_host_is_refused(acting, host):
    port = acting.place.rpartition(":")[2]
    assert acting.get("/", host=host.format(port=port)).status in (400, 421)


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1:{port}", "[::1]:{port}", "LocalHost:{port}"])
def test_its_own_names_are_right(acting, host):
    port = acting.place.rpartition(":")[2]
    assert acting.get("/", host=host.format(port=port)).status == 200


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://evil.example"}, {"origin": "null"}, {"origin": ""}, {"origin": "http://localhost:1"},
     {"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"}, {"sec_fetch_site": "none"}],
)  # fmt: skip
def test_an_act_of_another_site_is_refused(acting, conn, headers):
    form = acting.form("/acts/pause?queue=orders")
    assert acting.post("/acts/pause", {**form, "reason": "x"}, **headers).status == 403
    assert one(conn, "select count(*) from qctl.audit where verb = 'pause'") == 0


@pytest.mark.parametrize("change", ["no key", "another key", "no cookie", "another session", "text/plain"])
def test_a_form_that_is_not_ours_is_refused(acting, conn, change, windows):
    form = {**acting.form("/acts/pause?queue=orders"), "reason": "x"}
    headers = {}
    if change == "no key":
        del form["key"]
    elif change == "another key":
        form["key"] = "0" * 64
    elif change == "no cookie":
        acting.cookies.clear()
    elif change == "another session":
        acting.cookies.clear()
        acting.get("/")
    else:
        headers = {"content_type": "text/plain"}
    assert acting.post("/acts/pause", form, **headers).status == 403
    assert one(conn, "select count(*) from qctl.audit where verb = 'pause'") == 0


def test_reading_from_another_site_is_refused_and_following_a_link_is_not(acting):
    assert acting.get("/", sec_fetch_site="cross-site", sec_fetch_mode="cors").status == 403
    assert acting.get("/static/live.js", sec_fetch_site="cross-site", sec_fetch_mode="no-cors").status == 403
    assert acting.get("/", sec_fetch_site="cross-site", sec_fetch_mode="navigate").status == 200


def test_an_act_is_never_a_get(acting, conn):
    form = acting.form("/acts/pause?queue=orders")
    for method in ("GET", "HEAD"):
        acting.ask(method, f"/acts/pause?{urlencode({'queue': 'orders', 'reason': 'x', **form})}")
    assert one(conn, "select count(*) from qctl.audit where verb = 'pause'") == 0
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "OPTIONS"):
        assert acting.ask(method, "/acts/pause").status in (400, 403, 405)


@pytest.mark.parametrize(
    "path",
    ["/", "/messages/orders/1?payload=yes", "/login", "/static/style.css", "/nothing", "/acts/pause?queue=orders"],
)
def test_every_answer_has_the_headers_that_protect(acting, path):
    headers = acting.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert "server" not in headers or "waitress" not in headers["server"].lower()


def test_the_cookie_is_kept_from_scripts_and_other_sites(acting):
    cookie = acting.get("/").headers["set-cookie"]
    assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}


@pytest.mark.parametrize(
    "place",
    ["/messages/orders/1?payload=yes", "/messages?queue=orders", "/dead", "/", "/queues/orders", "/messages/orders/20"],
)
def test_hostile_texts_stay_texts(acting, place):
    body = acting.get(place).body
    assert "<script>document" not in body
    assert "<img" not in body
    assert not re.search(r"<[^>]*\son\w+=", body)
    assert "\x1b" not in body


@pytest.mark.parametrize(
    "query",
    ["queue=%3Cscript%3Ealert(1)%3C/script%3E", "queue=orders&error=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
     "since=%3Cimg%20src=x%3E", "state=%3Cb%3E", "queue=orders'%3B+drop+table+qctl.queue%3B--",
     "queue=orders&error=%00", "queue=orders&before=9999999999999999999999"],
)  # fmt: skip
def test_hostile_filters_are_shown_as_text_or_refused(acting, query, conn):
    page = acting.get(f"/messages?{query}")
    assert page.status in (200, 400, 404)
    assert "<script>alert" not in page.body
    assert "<img src=x>" not in page.body
    assert "Traceback" not in page.body
    assert one(conn, "select count(*) from qctl.queue") == 2


@pytest.mark.parametrize(
    "path",
    ["/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static/style.css/../../app.py",
     "/static//etc/passwd", "/static/..\\app.py", "//evil.example/", "/messages/orders/1/../../../etc/passwd",
     "/queues/..%2f..%2f", "/messages/orders/-1", "/messages/orders/1e3", "/%00"],
)  # fmt: skip
def test_paths_lead_nowhere(acting, path):
    answer = acting.get(path)
    assert answer.status in (400, 404, 308), answer
    assert "import" not in answer.body
    assert "evil.example" not in answer.headers.get("location", "")


def test_without_the_token_nothing_is_shown(locked):
    for path in ("/", "/messages/orders/1?payload=yes", "/doctor", "/dead"):
        answer = locked.get(path)
        assert (answer.status, answer.headers.get("location")) == (303, "/login")
    assert locked.post("/acts/pause", {"queue": "orders"}).status in (303, 403)
    for cookie in ("", "x", "0" * 43, "../../etc", "'; drop table"):
        locked.cookies["qctl"] = cookie
        assert locked.get("/").status == 303


def test_tokens_cannot_be_guessed(locked):
    statuses = []
    started = time.monotonic()
    for guess in range(12):
        statuses.append(locked.post("/login", {"token": f"guess-{guess}"}).status)
    assert statuses[:6] == [403] * 6
    assert set(statuses[6:]) == {429}
    assert time.monotonic() - started < 20
    refused = locked.post("/login", {"token": TOKEN})
    assert refused.status == 429
    assert int(refused.headers["retry-after"]) >= 1


def test_the_right_token_opens_and_signing_out_closes(locked):
    assert locked.post("/login", {"token": TOKEN + "x"}).status == 403
    entered = locked.post("/login", {"token": TOKEN})
    assert (entered.status, entered.headers["location"]) == (303, "/")
    page = locked.get("/")
    assert page.status == 200
    key = re.search(r'name="key" value="([^"]+)"', page.body)
    assert key
    assert locked.post("/logout", {"key": "x"}).status == 403
    session = dict(locked.cookies)
    assert locked.post("/logout", {"key": key[1]}).status == 303
    locked.cookies.update(session)
    assert locked.get("/").status == 303


def test_a_login_of_another_site_is_refused(locked):
    assert locked.post("/login", {"token": TOKEN}, origin="http://evil.example").status == 403


def test_a_trusted_header_lets_in_whom_the_proxy_names(busy, windows):
    window = windows("--trust-header", "X-Forwarded-User")
    assert window.get("/").status == 401
    assert window.get("/", x_forwarded_user="").status == 401
    assert window.get("/", x_forwarded_user="ada").status == 200


def test_large_and_odd_requests_harm_nobody(acting):
    assert acting.ask("POST", "/acts/pause", b"x" * 100_000, origin=f"http://{acting.place}").status in (400, 403, 413)
    assert acting.get("/" + "x" * 20_000).status in (400, 404, 414, 431)
    assert acting.get("/", x_large="y" * 40_000).status in (400, 431)
    port = int(acting.place.rpartition(":")[2])
    for raw in (
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"\x16\x03\x01\x00",
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(raw)
            client.settimeout(3)
            with suppress(TimeoutError):
                client.recv(1000)
    assert acting.get("/").status == 200


def test_slow_clients_hold_up_nobody(acting):
    port = int(acting.place.rpartition(":")[2])
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
    try:
        for client in slow:
            client.sendall(b"GET / HTTP/1.1\r\nhost: ")
        started = time.monotonic()
        assert acting.get("/workers").status == 200
        assert time.monotonic() - started < 5
    finally:
        for client in slow:
            client.close()
