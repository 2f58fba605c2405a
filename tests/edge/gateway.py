"""Stands where the hosted runtime takes requests for a function: a wake starts an isolate, which is kept while it lives."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from isolate import FUNCTION, Isolate


class Gateway:
    """The address of a function. ``isolates`` are all that were started.

    Args:
        dsn: what its workers connect to.
        secret: what signs wakes.
        function: folder of its files.
        most: isolates that may run at once; another is started for a wake that the others do not take.
        settings: the environment of each isolate.
    """

    def __init__(self, dsn: str, secret: str, *, function: Path = FUNCTION, most: int = 1, **settings: str) -> None:
        self.dsn, self.secret, self._function, self._most = dsn, secret, function, most
        self.settings = {"ISOLATE_LEAVES": "1", **settings}
        self.isolates: list[Isolate] = []
        self.answers: list[int] = []
        self._lock = threading.Lock()
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
                status, answer = gateway._take({name.lower(): value for name, value in self.headers.items()}, body)
                self.send_response(status)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/functions/v1/qctl-worker"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _take(self, headers: dict[str, str], body: str) -> tuple[int, bytes]:
        kept = {name: headers[name] for name in headers if name.startswith("webhook-") or name == "content-type"}
        with self._lock:
            status, answer = 503, {"error": "no isolate"}
            for one in self._taking() or [self._start()]:
                status, answer = self._post(one, kept, body)
                if status not in (200, 503):
                    break
            if status in (200, 503) and len(self._taking()) < self._most:
                status, answer = self._post(self._start(), kept, body)
            self.answers.append(status)
            return status, str(answer).replace("'", '"').encode()

    def _post(self, one: Isolate, headers: dict[str, str], body: str) -> tuple[int, dict]:
        try:
            return one.post(headers, body)
        except OSError as error:
            return 503, {"error": f"the isolate is gone: {error}"}

    def _start(self) -> Isolate:
        self.isolates.append(Isolate(self.dsn, self.secret, self._function, **self.settings))
        return self.isolates[-1]

    def running(self) -> list[Isolate]:
        return [one for one in self.isolates if one.running()]

    def _taking(self) -> list[Isolate]:
        """As the hosted runtime does it: one whose CPU time or wall clock nears its end is sent nothing more."""
        return [
            one for one in self.running() if not any(line["reason"] in ("cpu", "wall") for line in one.log("retire"))
        ]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        with self._lock:
            for one in self.isolates:
                one.close()
