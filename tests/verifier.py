"""An endpoint that verifies what it is sent with the public Standard Webhooks library."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError


class Verifier(ThreadingHTTPServer):
    """Answers 200 for a request that one of the secrets signed, 401 for any other.

    ``taken`` holds the webhook-ids that were answered 200, ``refused`` those that were not; ``tolerance`` is the library's 300 s.
    """

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, *secrets: str, answer: bytes = b"ok") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hooks = [Webhook(secret) for secret in secrets]
        self.answer = answer
        self.taken: list[str] = []
        self.refused: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hook"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Verifier)
        body = self.rfile.read(int(self.headers["content-length"]))
        good = any(_verifies(hook, body, dict(self.headers)) for hook in server.hooks)
        (server.taken if good else server.refused).append(self.headers["webhook-id"])
        self.send_response(200 if good else 401)
        self.send_header("content-length", str(len(server.answer)))
        self.end_headers()
        self.wfile.write(server.answer)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing to say."""


def _verifies(hook: Webhook, body: bytes, headers: dict[str, str]) -> bool:
    try:
        hook.verify(body, {name.lower(): value for name, value in headers.items()})
    except WebhookVerificationError:
        return False
    return True


@contextmanager
def verifying(*secrets: str, answer: bytes = b"ok") -> Iterator[Verifier]:
    """A verifier for as long as the block runs."""
    server = Verifier(*secrets, answer=answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
