"""One HTTP request: what is sent, how libcurl is told, what comes back."""

import io
import re
import ssl
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import NamedTuple

import certifi
import pycurl

from qctl import __version__, ssrf
from qctl.models import Claimed

KEPT_BYTES = 4096
JUDGED_BYTES = 65536
MOST_BYTES = 1 << 20
REFUSED = "refused: "
_E_TOO_LARGE = 100
# A name may move to another address; it is looked up again when no connection is younger than this.
CONNECTION_LIFE_S = 15
_BREAK = re.compile(rb"[\r\n\0]")


class Request(NamedTuple):
    """A claimed message of a queue; the times are on :func:`clock`, ``size`` is that of its body when it was claimed.

    ``allowed`` are networks that it may go to besides public addresses; None: wherever its URL leads.
    """

    queue: str
    queue_id: int
    message: Claimed
    claimed_at: float
    lease_ends: float
    size: int
    kept_bytes: int = KEPT_BYTES
    allowed: tuple[ssrf.Network, ...] | None = ()


class Answer(NamedTuple):
    """What came of a request. ``sent`` is False when it was never started, so it costs no attempt.

    ``at_once`` is how many of its queue were under way when it began, itself included.
    """

    request: Request
    sent: bool
    status: int | None = None
    error: str | None = None
    response: bytes | None = None
    duration_ms: int | None = None
    retry_after_s: int | None = None
    at_once: int = 0


class Egress(NamedTuple):
    """How requests leave: through a proxy, which then decides where they may go; trusted by which authorities; as whom."""

    proxy: str | None = None
    authorities: str | None = None
    certificate: str | None = None
    key: str | None = None


class Handle:
    """One libcurl handle, used for one request after another."""

    def __init__(self, egress: Egress) -> None:
        self.request: Request
        self.kept = b""
        self.seen = 0
        self.head = io.BytesIO()
        self.at_once = 0
        self.refused: str | None = None
        self.tried = False
        self.fresh = False
        self._set: tuple[str, int] | None = None
        self._vetted: tuple[str, tuple[ssrf.Network, ...] | None] | None = None
        self.curl = pycurl.Curl()
        for option, value in (
            (pycurl.NOSIGNAL, 1),
            (pycurl.FOLLOWLOCATION, 0),
            (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
            (pycurl.PROXY, egress.proxy or ""),
            (pycurl.USERAGENT, f"qctl/{__version__}"),
            # Over HTTP/2 an endpoint that goes away gracefully refuses streams, and libcurl cannot tell which it has worked on.
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
            (pycurl.ACCEPT_ENCODING, ""),
            (pycurl.MAXLIFETIME_CONN, CONNECTION_LIFE_S),
            (pycurl.DNS_CACHE_TIMEOUT, CONNECTION_LIFE_S),
            (pycurl.HTTP09_ALLOWED, 0),
            (pycurl.PATH_AS_IS, 1),
            (pycurl.NOPROGRESS, 1),
            (pycurl.TCP_KEEPALIVE, 1),
            (pycurl.WRITEFUNCTION, self._write),
            (pycurl.HEADERFUNCTION, self.head.write),
            *_trusted(egress),
        ):
            self.curl.setopt(option, value)
        if egress.proxy is None:
            # The first for new connections, before a packet leaves; the second also for those that another queue opened.
            self.curl.setopt(pycurl.OPENSOCKETFUNCTION, ssrf.opener(self._refuses))
            self.curl.setopt(pycurl.PREREQFUNCTION, self._may_send)

    def prepare(self, request: Request, *, fresh: bool = False) -> None:
        """Sets up the handle for a request; ``fresh``: on a new connection, after the name was looked up anew."""
        message = request.message
        self.request, self.kept, self.seen, self.refused, self.tried = request, b"", 0, None, False
        self.head.seek(0)
        self.head.truncate()
        curl = self.curl
        curl.setopt(pycurl.POSTFIELDS, message.body.encode())
        curl.setopt(pycurl.HTTPHEADER, _header_lines(message.headers))
        self._connect_anew(fresh)
        if self._set != (message.url, message.timeout_ms):
            self._set = None
            curl.setopt(pycurl.URL, message.url)
            curl.setopt(pycurl.TIMEOUT_MS, message.timeout_ms)
            curl.setopt(pycurl.CONNECTTIMEOUT_MS, min(message.timeout_ms, 10_000))
            self._set = (message.url, message.timeout_ms)

    def renew(self) -> None:
        """Sets up the request that it holds once more, on a new connection."""
        self.kept, self.seen, self.refused, self.tried = b"", 0, None, False
        self.head.seek(0)
        self.head.truncate()
        self._connect_anew(True)

    def _connect_anew(self, fresh: bool) -> None:
        if self.fresh is not fresh:
            self.curl.setopt(pycurl.FRESH_CONNECT, int(fresh))
            self.curl.setopt(pycurl.DNS_CACHE_TIMEOUT, 0 if fresh else CONNECTION_LIFE_S)
            self.fresh = fresh

    def answer(self, code: int | None, text: str) -> Answer:
        """The answer of the request that has ended; ``code`` is libcurl's error, None for none."""
        curl = self.curl
        status = curl.getinfo(pycurl.RESPONSE_CODE) or None
        duration_ms = round(curl.getinfo(pycurl.TOTAL_TIME) * 1000)
        # libcurl reads 300 KiB or 5000 lines of headers. What came before a cut was an answer, or only the announcement of one.
        flooded = code == _E_TOO_LARGE
        too_long = code == pycurl.E_WRITE_ERROR and self.seen > MOST_BYTES
        cut_by_us = (flooded or too_long) and (status or 0) >= 200
        if code is not None and not cut_by_us:
            # Of a name with several addresses some may be refused and another one tried, which then is the reason.
            if self.refused is not None and not self.tried:
                text = self.refused
            elif flooded:
                text = "endless headers and no answer"
            elif code == pycurl.E_OPERATION_TIMEDOUT:
                text = f"no complete answer within {self.request.message.timeout_ms} ms"
            text = (text or f"libcurl error {code}") + (f" (after status {status})" if status else "")
            if self.refused is not None and self.tried:
                text += f"; another of its addresses: {self.refused}"
            return Answer(self.request, True, None, text, self.kept, duration_ms, at_once=self.at_once)
        # Of a 200 too, for it may not be the answer that the queue expects.
        asked = self._header(b"retry-after")
        wait_s = retry_after_seconds(asked) if asked else None
        return Answer(self.request, True, status, None, self.kept, duration_ms, wait_s, self.at_once)

    def _may_send(self, remote: str, _local: str, _remote_port: int, _local_port: int) -> int:
        allowed = self.request.allowed
        if self._vetted is not None and self._vetted[0] == remote and self._vetted[1] is allowed:
            return pycurl.PREREQFUNC_OK
        if self._refuses(remote):
            return pycurl.PREREQFUNC_ABORT
        self._vetted = (remote, allowed)
        return pycurl.PREREQFUNC_OK

    def _refuses(self, address: str) -> bool:
        allowed = self.request.allowed
        why = None if allowed is None else ssrf.refusal(address, allowed)
        if why is not None:
            self.refused = f"{REFUSED}{why}; to allow it: qctl set -q {self.request.queue} --allow-private"
        else:
            self.tried = True
        return why is not None

    def _header(self, name: bytes) -> bytes:
        """The value of the last header of that name, in lower case; nothing for none."""
        head = self.head.getvalue()
        _, found, rest = head.lower().rpartition(b"\n" + name + b":")
        return head[len(head) - len(rest) :].partition(b"\n")[0] if found else b""

    def _write(self, data: bytes) -> int | None:
        self.seen += len(data)
        most = self.request.kept_bytes
        if len(self.kept) < most:
            self.kept += data[: most - len(self.kept)]
        return -1 if self.seen > MOST_BYTES else None


def retry_after_seconds(value: bytes) -> int | None:
    """Seconds that a Retry-After header asks for, in either form of RFC 9110 section 10.2.3; None for anything else."""
    text = value.decode("ascii", "replace").strip()
    if text.isascii() and text.isdecimal():
        return min(int(text[:10]), 2**31 - 1)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return max(0, min(int(seconds), 2**31 - 1))


def _header_lines(headers: dict[str, str]) -> list[bytes]:
    """Header lines for libcurl, whose form for an empty value is ``Name;``.

    Raises:
        ValueError: a header that would not be one line.
    """
    lines = [b"Expect:"]
    if "content-type" not in headers:
        lines.append(b"content-type: application/json")
    for name, value in headers.items():
        line = (f"{name}: {value}" if value else f"{name};").encode()
        if _BREAK.search(line):
            raise ValueError(f"header {name!r} is not one line")
        lines.append(line)
    return lines


def _trusted(egress: Egress) -> list[tuple[int, str]]:
    """Options for certificates: whose to trust, and which to show."""
    own = ((pycurl.SSLCERT, egress.certificate), (pycurl.SSLKEY, egress.key))
    found = [(option, path) for option, path in own if path is not None]
    return found + ([(pycurl.CAINFO, egress.authorities)] if egress.authorities else _authorities())


def _authorities() -> list[tuple[int, str]]:
    """Where trusted certificates lie: the system's own, else those of certifi."""
    paths = ssl.get_default_verify_paths()
    found = [
        (option, path)
        for option, path in ((pycurl.CAINFO, paths.cafile), (pycurl.CAPATH, paths.capath))
        if path and Path(path).exists()
    ]
    return found or [(pycurl.CAINFO, certifi.where())]
