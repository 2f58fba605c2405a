"""Who gets in: names of the host, tokens, sessions, and requests that other sites make."""

import hmac
import secrets
import threading
import time
from dataclasses import dataclass, field
from hashlib import sha256

_SESSION_S = 12 * 3600.0
_MOST_SESSIONS = 1000
# Wrong tokens that are answered at once; each further one has to wait.
_FREE_TRIES = 5
_PENALTY_S = 2.0
_LONGEST_S = 60.0


@dataclass(frozen=True, slots=True)
class Rules:
    """``hosts`` are the names under which it answers. Without a token and a trusted header everybody who reaches it gets in.

    ``header`` is one that a proxy in front of it sets, and no client could, because only the proxy reaches it.
    """

    hosts: frozenset[str]
    token: str | None = None
    header: str | None = None
    # Cookies know no ports, and another window may run on this machine.
    cookie: str = "qctl"

    @property
    def open(self) -> bool:
        """Whether nothing is asked."""
        return self.token is None and self.header is None


@dataclass(slots=True)
class _Tries:
    """Wrong tokens of an address, and until when no more of them are looked at."""

    wrong: int = 0
    closed_until: float = 0.0


@dataclass(slots=True)
class Access:
    """Sessions, and what a token is worth."""

    rules: Rules
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    _sessions: dict[str, float] = field(default_factory=dict[str, float])
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _tries: dict[str, _Tries] = field(default_factory=dict[str, _Tries])

    def knows_host(self, host: str) -> bool:
        """Whether a Host header names this server: another name is a site that rebinds its own to this address."""
        return host.lower() in self.rules.hosts

    def is_same_site(
        self, method: str, host: str, origin: str | None, fetch_site: str | None, mode: str | None
    ) -> bool:
        """Whether a request comes from one of our own pages, or from nowhere."""
        if method in ("GET", "HEAD"):
            # Following a link from another site is fine; reading from it, or embedding, is not.
            return fetch_site in (None, "none", "same-origin") or mode == "navigate"
        return fetch_site in (None, "same-origin") and origin in (f"http://{host}", f"https://{host}")

    def log_in(self, token: str, address: str) -> str | None:
        """A new session for the right token; None for a wrong one.

        Raises:
            TooManyError: too many were wrong lately, from this address.
        """
        with self._lock:
            now = time.monotonic()
            if address not in self._tries and len(self._tries) >= _MOST_SESSIONS:
                self._tries = {at: tries for at, tries in self._tries.items() if tries.closed_until > now}
            tries = self._tries.setdefault(address, _Tries())
            if now < tries.closed_until:
                raise TooManyError(tries.closed_until - now)
            if self.rules.token is not None and hmac.compare_digest(token.encode(), self.rules.token.encode()):
                del self._tries[address]
                return self._begin(now)
            tries.wrong += 1
            if tries.wrong > _FREE_TRIES:
                tries.closed_until = now + min(_LONGEST_S, _PENALTY_S * 2 ** (tries.wrong - _FREE_TRIES))
            return None

    def new_visitor(self) -> str:
        """A session where nobody logs in: what forms are bound to. It is signed instead of remembered."""
        name = secrets.token_urlsafe(24)
        return f"{name}.{self._sign(name)}"

    def is_visitor(self, session: str | None) -> bool:
        """Whether a session is one that :meth:`new_visitor` gave."""
        name, _, signature = (session or "").partition(".")
        return hmac.compare_digest(self._sign(name).encode(), signature.encode())

    def has(self, session: str | None) -> bool:
        """Whether a session is known."""
        with self._lock:
            until = self._sessions.get(session or "")
            return until is not None and time.monotonic() < until

    def end(self, session: str | None) -> None:
        """Ends a session."""
        with self._lock:
            self._sessions.pop(session or "", None)

    def form_key(self, session: str) -> str:
        """What a form of this session carries."""
        return self._sign(f"form {session}")

    def _sign(self, text: str) -> str:
        return hmac.new(self._key, text.encode("utf-8", "surrogateescape"), sha256).hexdigest()

    def is_our_form(self, session: str, given: str) -> bool:
        """Whether a form is one of this session's."""
        return hmac.compare_digest(self.form_key(session).encode(), given.encode())

    def _begin(self, now: float) -> str:
        if len(self._sessions) >= _MOST_SESSIONS:
            for old in sorted(self._sessions, key=self._sessions.__getitem__)[: _MOST_SESSIONS // 2]:
                del self._sessions[old]
        session = secrets.token_urlsafe(32)
        self._sessions[session] = now + _SESSION_S
        return session


class TooManyError(Exception):
    """Too many wrong tokens; ``wait_s`` until the next is looked at."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(wait_s)
        self.wait_s = wait_s
