"""The pages as a WSGI application."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from qctl.errors import ExitCode, QctlError, UsageError
from qctl.web import acts, pages, text
from qctl.web.access import Access, Rules, TooManyError
from qctl.web.database import Shared

_MOST_FORM_BYTES = 64 * 1024
_POLICY = "; ".join(
    ("default-src 'none'", "style-src 'self'", "script-src 'self'", "img-src 'self'", "connect-src 'self'", "form-action 'self'",
     "frame-ancestors 'none'", "base-uri 'none'")
)  # fmt: skip
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer: with that a browser names no origin when it sends a form.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
_STATUS = {
    ExitCode.NOT_FOUND: 404,
    ExitCode.USAGE: 400,
    ExitCode.REFUSED: 409,
    ExitCode.CANNOT_CONNECT: 503,
    ExitCode.SERVER_UNFIT: 403,
    ExitCode.BUSY: 503,
}
_STATIC = {
    "style.css": "text/css; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}

_ROUTES = Map(
    [
        Rule("/", endpoint="queues", methods=["GET"]),
        Rule("/queues/<name>", endpoint="queue", methods=["GET"]),
        Rule("/messages", endpoint="messages", methods=["GET"]),
        Rule(f"/messages/<name>/<int(max={2**63 - 1}):msg_id>", endpoint="message", methods=["GET"]),
        Rule("/dead", endpoint="dead", methods=["GET"]),
        Rule("/workers", endpoint="workers", methods=["GET"]),
        Rule("/doctor", endpoint="doctor", methods=["GET"]),
        Rule("/acts/<verb>", endpoint="act", methods=["GET", "POST"]),
        Rule("/done/<name>", endpoint="done", methods=["GET"]),
        Rule("/login", endpoint="login", methods=["GET", "POST"]),
        Rule("/logout", endpoint="logout", methods=["POST"]),
        Rule("/static/<name>", endpoint="static", methods=["GET"]),
    ]
)


@dataclass(frozen=True, slots=True)
class Site:
    """What the pages say of themselves: which database, and whether they act.

    ``carried`` puts into a command the connection that was named, ``told`` into the commands of a sentence.
    """

    label: str
    where: str
    allow_acts: bool
    carried: Callable[[str], str] = str
    told: Callable[[str], str] = str


class Application:
    """Answers requests, each after it was found to be from who may ask."""

    def __init__(self, database: Shared, site: Site, rules: Rules) -> None:
        self._database = database
        self._site = site
        self._access = Access(rules)
        self._rules = rules
        self._agreements = acts.Agreements()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """One request, by WSGI."""
        request = Request(environ)
        request.max_content_length = _MOST_FORM_BYTES
        request.max_form_memory_size = _MOST_FORM_BYTES
        response = self._answer(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        if not self._access.knows_host(request.host):
            return _plain(421, "this server does not answer under that name: qctl web --host NAME")
        fetch = request.headers.get("sec-fetch-site"), request.headers.get("sec-fetch-mode")
        if not self._access.is_same_site(request.method, request.host, request.headers.get("origin"), *fetch):
            return _plain(403, "this request was made by another site")
        try:
            endpoint, values = _ROUTES.bind_to_environ(request.environ).match()
            if "\0" in "".join(map(str, values.values())):
                raise NotFound
            return self._route(request, endpoint, values)
        except HTTPException as error:
            return _plain(error.code or 400, error.name.lower())
        except Exception:
            # Its text may hold what this reader may not see.
            logging.getLogger(__name__).exception("a page failed")
            return _plain(500, "this page failed; what ran qctl web has the reason")

    def _route(self, request: Request, endpoint: str, values: Mapping[str, Any]) -> Response:
        if endpoint == "static":
            return _static(values["name"])
        session = request.cookies.get(self._rules.cookie)
        if endpoint == "login" and not self._rules.open:
            return self._log_in(request)
        if not self._may_enter(request, session):
            return _redirect("/login") if self._rules.token else _plain(401, "the proxy has named nobody")
        if self._rules.token is None and not self._access.is_visitor(session):
            # Where nobody logs in a session only binds forms to the browser that asked for them.
            session = self._access.new_visitor()
            response = self._dispatch(request, endpoint, values, session)
            self._set_cookie(response, session)
            return response
        return self._dispatch(request, endpoint, values, session or "")

    def _may_enter(self, request: Request, session: str | None) -> bool:
        if self._rules.header is not None:
            return bool(self._named(request))
        return self._rules.open or self._access.has(session)

    def _named(self, request: Request) -> str:
        """Whom the proxy in front has named."""
        return request.headers.get(self._rules.header, "").strip() if self._rules.header else ""

    def _dispatch(self, request: Request, endpoint: str, values: Mapping[str, Any], session: str) -> Response:
        # A form belongs to a browser, and to the person whom the proxy has named.
        owner = f"{session} {self._named(request)}"
        shown: dict[str, Any] = {"key": self._access.form_key(owner)}
        try:
            match endpoint:
                case "logout":
                    if not self._access.is_our_form(owner, request.form.get("key", "")):
                        return _plain(403, "the form is not one of this page")
                    self._access.end(session)
                    return _redirect("/login")
                case "act":
                    return self._act(request, values["verb"], owner, shown)
                case "done":
                    return self._page(request, "done.html", {**shown, "done": self._agreements.done(values["name"])})
                case "login":
                    return _redirect("/")
                case _:
                    page = getattr(pages, endpoint)(self._database, request.args, **values)
                    status = 400 if page.get("problem") else 200
                    return self._page(request, f"{endpoint}.html", {**page, **shown}, status=status)
        except QctlError as error:
            back = request.form.get("back") or _back(request) if endpoint == "act" else "/"
            return self._page(
                request, "error.html", {**shown, "error": error, "back": _local(back)}, _STATUS.get(error.code, 500)
            )

    def _act(self, request: Request, verb: str, owner: str, shown: Mapping[str, Any]) -> Response:
        if not self._site.allow_acts or verb not in acts.VERBS:
            raise NotFound
        if request.method != "POST":
            planned = acts.plan(self._database, verb, request.args)
            agreement = self._agreements.keep(planned) if request.method == "GET" else ""
            values = {"act": planned, "agreement": agreement, "back": _back(request) or f"/queues/{planned.queue}"}
            return self._page(request, "confirm.html", {**shown, **values})
        if not self._access.is_our_form(owner, request.form.get("key", "")):
            return _plain(403, "the form is not one of this page; open it again")
        planned = self._agreements.take(request.form.get("agreement", ""), verb)
        try:
            done = acts.carry_out(self._database, planned, request.form.get("reason", ""))
        except UsageError as error:
            # Nothing was done, so the same form can be sent again.
            values = {"act": planned, "agreement": self._agreements.keep(planned), "said": error.message}
            back = _local(request.form.get("back", "")) or f"/queues/{planned.queue}"
            return self._page(request, "confirm.html", {**shown, **values, "back": back}, 400)
        return _redirect(f"/done/{self._agreements.keep(done)}")

    def _log_in(self, request: Request) -> Response:
        said = ""
        status = 200
        if request.method == "POST" and self._rules.token is not None:
            try:
                session = self._access.log_in(request.form.get("token", ""), request.remote_addr or "")
            except TooManyError as error:
                said = f"too many wrong tokens: wait {error.wait_s:.0f} s"
                response = self._page(request, "login.html", {"said": said}, status=429)
                response.headers["retry-after"] = str(round(error.wait_s) + 1)
                return response
            if session is not None:
                response = _redirect("/")
                self._set_cookie(response, session)
                return response
            said, status = "that is not the token", 403
        return self._page(request, "login.html", {"said": said}, status=status)

    def _page(self, request: Request, template: str, values: Mapping[str, Any], status: int = 200) -> Response:
        shown = {
            "site": self._site,
            "path": request.path,
            "here": request.full_path.rstrip("?"),
            "partial": request.headers.get("x-qctl-part") == "main",
            "signed_in": self._rules.token is not None and template != "login.html",
            "carried": self._site.carried,
            "told": self._told,
            **values,
        }
        return Response(
            _templates().get_template(template).render(shown), status, content_type="text/html; charset=utf-8"
        )

    def _told(self, sentence: str) -> Markup:
        return text.linked(self._site.told(sentence))

    def _set_cookie(self, response: Response, session: str) -> None:
        # Most browsers keep a Secure cookie of this machine's own names without TLS, too.
        response.set_cookie(self._rules.cookie, session, secure=True, httponly=True, samesite="Strict", path="/")


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("qctl.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(text.FILTERS)
    environment.filters["query"] = _query
    return environment


def _query(values: dict[str, object]) -> str:
    return urlencode({name: value for name, value in values.items() if value})


@cache
def _read(name: str) -> bytes:
    return (files("qctl.web") / "static" / name).read_bytes()


def _static(name: str) -> Response:
    if name not in _STATIC:
        raise NotFound
    response = Response(_read(name), content_type=_STATIC[name])
    response.headers["cache-control"] = "no-cache"
    return response


def _plain(status: int, said: str) -> Response:
    return Response(f"{said}\n", status, content_type="text/plain; charset=utf-8")


def _redirect(to: str) -> Response:
    return Response("", 303, headers={"location": to})


def _back(request: Request) -> str:
    """The page of ours that a request was made from."""
    came = urlsplit(request.headers.get("referer", ""))
    return _local(f"{came.path}?{came.query}" if came.query else came.path) if came.netloc == request.host else ""


def _local(path: str) -> str:
    """A path if it is one of this server, and of a page that only shows."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\", "/acts/", "/done/")) and path.isprintable()
    return path if is_ours else ""
