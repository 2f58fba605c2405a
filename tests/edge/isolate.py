"""The Edge Function as a process: Deno runs it in an isolate of a few lines, and a wake begins its worker."""

import base64
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from functools import cache
from pathlib import Path

import psycopg

DENO = Path(sys.executable).with_name("deno")
FUNCTION = Path(__file__).parents[2] / "src" / "qctl" / "edge"
RUNTIME = Path(__file__).with_name("runtime.ts")
# All of the tests; otherwise a few of them.
WHOLE = os.environ.get("QCTL_TEST_EDGE") == "1"
BODY = '{"type": "qctl.wake"}'


def deno_environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("QCTL_", "PG", "SUPABASE_"))}
    return {**kept, "DENO_DIR": str(Path(sys.executable).parents[1] / "deno"), "NO_COLOR": "1"}


def known_function(conn: psycopg.Connection, url: str = "http://127.0.0.1:9/qctl-worker") -> str:
    """Makes an Edge Function known as ``qctl edge wake`` does where pg_cron is; the secret that signs its wakes."""
    conn.execute("insert into qctl.edge_function (url) values (%s)", [url])
    return conn.execute("select qctl._new_edge_secret('1 h')").fetchone()[0]


def new_wake(conn: psycopg.Connection) -> uuid.UUID:
    return conn.execute("insert into qctl.edge_wake default values returning wake_id").fetchone()[0]


def signed(secret: str, wake_id: object, body: str = BODY, at: float | None = None) -> dict[str, str]:
    stamp = str(int(time.time() if at is None else at))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{wake_id}.{stamp}.{body}".encode(), hashlib.sha256).digest()
    return {
        "webhook-id": str(wake_id),
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
        "content-type": "application/json",
    }


@cache
def missing() -> str | None:
    """What the function cannot run without here; None if all is there."""
    if not DENO.exists():
        return "no deno in .venv: make .venv/.dev"
    command = [str(DENO), "cache", "--no-lock", "--config", str(FUNCTION / "deno.json"), str(FUNCTION / "database.ts")]
    done = subprocess.run(command, env=deno_environment(), capture_output=True, text=True, timeout=100, check=False)
    return (
        None
        if done.returncode == 0
        else f"npm:postgres cannot be had here: {done.stderr.strip().partition(chr(10))[0][:150]}"
    )


class Isolate:
    """One isolate. Its lines on stdout are kept in ``lines``."""

    def __init__(self, dsn: str, secret: str, function: Path = FUNCTION, **environment: str) -> None:
        # Not as root of a network of its own: it reaches what the tests reach.
        self._process = subprocess.Popen(
            [str(DENO), "run", "--no-lock", "-A",
             "--config", str(function / "deno.json"), str(RUNTIME), (function / "index.ts").as_uri()],
            env={**deno_environment(), "QCTL_DSN": dsn, "QCTL_WAKE_SECRET": secret, **environment},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.pid = self._process.pid
        self.lines: list[str] = []
        self._errors: list[str] = []
        assert self._process.stdout
        assert self._process.stderr
        first = self._process.stdout.readline()
        if not first.strip().isdecimal():
            raise AssertionError(first + self._process.stdout.read() + self._process.stderr.read())
        self.url = f"http://127.0.0.1:{first.strip()}/qctl-worker"
        self._readers = [
            threading.Thread(target=lambda: self.lines.extend(self._process.stdout), daemon=True),
            threading.Thread(target=lambda: self._errors.extend(self._process.stderr), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def post(self, headers: dict[str, str], body: str = BODY, method: str = "POST") -> tuple[int, dict]:
        request = urllib.request.Request(self.url, body.encode() if method == "POST" else None, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"{}")

    def log(self, event: str) -> list[dict]:
        return [line for line in map(json.loads, list(self.lines)) if line["event"] == event]

    def running(self) -> bool:
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self, timeout: float = 30) -> tuple[int, str]:
        """Waits for the end; exit code and stderr."""
        self._process.wait(timeout)
        for reader in self._readers:
            reader.join(5)
        for stream in (self._process.stdout, self._process.stderr):
            stream.close()
        return self._process.returncode, "".join(self._errors)

    def close(self) -> None:
        if self.running():
            self._process.kill()
        self.end()
