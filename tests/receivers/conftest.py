"""Workers, and the receivers of docs/receivers.md, that are gone after the test."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from page import BLOCKS, Api, EdgeFunction, NodeReceiver, PythonReceiver, Receiver, program


@pytest.fixture(scope="session")
def npm_library(tmp_path_factory) -> Callable[[], Path]:
    """A node_modules with standardwebhooks in it; where npm or its registry is not there the test is skipped."""
    found: list[Path | str] = []

    def install() -> Path | str:
        npm, folder = shutil.which("npm"), tmp_path_factory.mktemp("npm")
        if npm is None:
            return "npm is not installed"
        command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--fetch-retries=0", "standardwebhooks@1"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=40, check=False)
        except subprocess.TimeoutExpired:
            return "npm did not bring standardwebhooks within 40 s"
        if done.returncode:
            return f"npm cannot bring standardwebhooks: {done.stderr[:200]}"
        return folder / "node_modules"

    def get() -> Path:
        if not found:
            found.append(install())
        if isinstance(found[0], str):
            pytest.skip(found[0])
        return found[0]

    return get


@pytest.fixture
def start(tmp_path, dsn, npm_library) -> Iterator[Callable[..., Receiver]]:
    """Starts a receiver of the page by its kind, with a secret."""
    started: list[Receiver] = []

    def begin(kind: str, secret: str, **extra: str) -> Receiver:
        folder = tmp_path / f"receiver-{len(started)}"
        folder.mkdir()

        def lay(block: str, name: str | None = None) -> str:
            (folder / (name or block)).write_text(BLOCKS[block])
            return name or block

        runtime, _, library = kind.partition(" ")
        if runtime == "python":
            lay(f"verify.py {library}".strip(), "verify.py")
            receiver: Receiver = PythonReceiver(folder, [sys.executable, lay("receiver.py")], secret)
        elif runtime == "node":
            node = program("node")
            if library:
                (folder / "node_modules").symlink_to(npm_library())
            lay(f"verify.mjs {library}".strip(), "verify.mjs")
            receiver = NodeReceiver(folder, [node, lay("receiver.mjs")], secret)
        else:
            deno = program("deno")
            api = Api(dsn)
            with psycopg.connect(dsn, autocommit=True) as connection:
                if connection.execute("select to_regclass('public.webhook_inbox') is null").fetchone() == (True,):
                    connection.execute(BLOCKS["inbox.sql"].encode())
            command = [deno, "run", "--no-remote", "--no-npm", "--allow-net", "--allow-env", lay("index.ts")]
            env = {
                "DENO_SERVE_ADDRESS": "tcp:127.0.0.1:0",
                "DENO_DIR": str(folder / "deno"),
                "SUPABASE_URL": api.url,
                "SUPABASE_SECRET_KEYS": json.dumps({"default": api.KEY}),
                **extra,
            }
            try:
                receiver = EdgeFunction(folder, command, secret, **env)
            except RuntimeError:
                api.close()
                raise
            receiver.api = api
        started.append(receiver)
        return receiver

    yield begin
    for one in started:
        one.close()
