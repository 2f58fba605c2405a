"""The code of docs/receivers.md as processes."""

import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg
import pytest

from processes import wait_until

PAGE = (Path(__file__).parents[2] / "docs/receivers.md").read_text()
BLOCKS: dict[str, str] = dict(re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL))
_PORT = re.compile(r"istening on (?:port |http://127\.0\.0\.1:)([0-9]+)")


def program(name: str) -> str:
    """A program beside this Python or on the PATH; without it the test is skipped."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


class Receiver(ABC):
    """Files of the page in a folder of their own, run as a user runs them."""

    def __init__(self, folder: Path, command: list[str], secret: str, **extra: str) -> None:
        self.folder = folder
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("QCTL_", "PG", "SUPABASE_", "DENO_"))}
        env = {**kept, "PORT": "0", "WEBHOOK_SECRET": secret, **extra}
        log = folder / "log"
        with log.open("wb") as said:
            self._process = subprocess.Popen(command, cwd=folder, env=env, stdout=said, stderr=subprocess.STDOUT)
        wait_until(
            lambda: self._process.poll() is not None or _PORT.search(log.read_text()), 20, "a receiver that listens"
        )
        found = _PORT.search(log.read_text())
        if found is None:
            self._process.wait()
            raise RuntimeError(f"ended before it listened: {log.read_text()}")
        self.port = int(found[1])
        self.url = f"http://127.0.0.1:{self.port}/hook"

    def post(self, body: bytes, headers: dict[str, str]) -> int:
        request = urllib.request.Request(self.url, body, {"content-type": "application/json", **headers})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code

    @abstractmethod
    def kept(self) -> dict[str, str]:
        """The inbox: each webhook-id with its body."""

    @abstractmethod
    def lose_the_inbox(self) -> None:
        """As after a mistake of its administrator."""

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class PythonReceiver(Receiver):
    def kept(self) -> dict[str, str]:
        with contextlib.closing(sqlite3.connect(self.folder / "inbox.db")) as db:
            return dict(db.execute("select webhook_id, body from webhook_inbox"))

    def lose_the_inbox(self) -> None:
        with contextlib.closing(sqlite3.connect(self.folder / "inbox.db")) as db:
            db.execute("drop table webhook_inbox")


class NodeReceiver(Receiver):
    def kept(self) -> dict[str, str]:
        assert list((self.folder / "drafts").iterdir()) == []
        return {path.stem: path.read_text() for path in (self.folder / "inbox").iterdir()}

    def lose_the_inbox(self) -> None:
        (self.folder / "inbox").rmdir()


class EdgeFunction(Receiver):
    api: "Api"

    def kept(self) -> dict[str, str]:
        with psycopg.connect(self.api.dsn, autocommit=True) as connection:
            return dict(connection.execute("select webhook_id, body from public.webhook_inbox").fetchall())

    def lose_the_inbox(self) -> None:
        with psycopg.connect(self.api.dsn, autocommit=True) as connection:
            connection.execute("drop table public.webhook_inbox")

    def close(self) -> None:
        super().close()
        self.api.close()


class Api:
    """What stands in for Supabase's REST API: one insert, into a real table, with the key and preference that it is sent."""

    KEY = "sb_secret_of_the_tests"
    OLDER_KEY = "older.service_role.key"

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                row = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(api.insert(self.path, self.headers, row))
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def insert(self, path: str, headers, row: dict[str, str]) -> int:
        keys = (headers["apikey"], headers["authorization"])
        if keys not in ((self.KEY, None), (self.OLDER_KEY, f"Bearer {self.OLDER_KEY}")):
            return 401
        if path != "/rest/v1/webhook_inbox":
            return 404
        ignore = "resolution=ignore-duplicates" in headers["prefer"].split(",")
        names, values = ", ".join(row), ", ".join(["%s"] * len(row))
        query = f"insert into public.webhook_inbox ({names}) values ({values})" + " on conflict do nothing" * ignore
        try:
            with psycopg.connect(self.dsn, autocommit=True) as connection:
                connection.execute(query, list(row.values()))
        except psycopg.errors.UniqueViolation:
            return 409
        except psycopg.errors.UndefinedTable:
            return 404
        return 201

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
