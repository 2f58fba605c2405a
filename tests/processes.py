"""Real processes for tests: the installed executable, at a terminal too, the misbehaving endpoint, workers."""

import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

from forkserver import LONGEST, ForkServer
from qctl.demo.receiver import Entry, read_ledger

QCTL = Path(sys.executable).with_name("qctl")
CONFIG = Path(__file__).with_name("config.toml")


def environment(**extra: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("QCTL_", "PG")) and k != "DATABASE_URL"}
    return {**kept, "PYTHONUNBUFFERED": "1", "QCTL_CONFIG": str(CONFIG), **extra}


@cache
def _forks() -> ForkServer:
    return ForkServer(QCTL, environment())


def qctl(*arguments: str, dsn: str | None = None, stdin: str | bytes | None = None, timeout: float = 60, **extra: str):
    """Runs qctl to its end in a process of its own; a CompletedProcess with text, or with bytes where ``stdin`` is such."""
    env = environment(**({"QCTL_DSN": dsn} if dsn else {}), **extra)
    given = stdin if isinstance(stdin, bytes) else (stdin or "").encode()
    if all(name.startswith(("QCTL_", "PG")) for name in extra) and sum(map(len, arguments)) < LONGEST // 4:
        done = _forks().run(list(arguments), env, given, timeout)
    else:
        # What start-up reads, and arguments that are long.
        done = subprocess.run(
            [str(QCTL), *arguments], env=env, input=given, capture_output=True, timeout=timeout, check=False
        )
    if isinstance(stdin, bytes):
        return done
    return subprocess.CompletedProcess(done.args, done.returncode, _text(done.stdout), _text(done.stderr))


def _text(raw: bytes) -> str:
    return io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8").read()


def ok(*arguments: str, **keywords):
    """Runs qctl, which must succeed."""
    done = qctl(*arguments, **keywords)
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done


def failed(code: int, *arguments: str, **keywords):
    """Runs qctl, which must end with that exit code, in a way a user can read."""
    done = qctl(*arguments, **keywords)
    assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def failing(code: int, *arguments: str, **keywords) -> str:
    """What :func:`failed` writes to stderr."""
    return failed(code, *arguments, **keywords).stderr


def data(*arguments: str, code: int = 0, **keywords):
    """Runs qctl, which must end with that exit code; the JSON that it prints."""
    done = qctl(*arguments, "-o", "json", **keywords)
    assert done.returncode == code, (arguments, done.stdout, done.stderr)
    return json.loads(done.stdout)


def screen(dsn: str, *arguments: str, columns: int, rows: int, seconds: float = 3.0, stop: int | None = None) -> str:
    """What qctl sends to a terminal of that size."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    env = environment(QCTL_DSN=dsn, TERM="xterm-256color")
    env.pop("COLUMNS", None)
    process = subprocess.Popen(
        [str(QCTL), *arguments], env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    seen, until = b"", time.monotonic() + seconds
    while time.monotonic() < until or (stop is None and process.poll() is None):
        if select.select([ours], [], [], 0.1)[0]:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            seen += part
        elif process.poll() is not None:
            break
    if stop is not None:
        process.send_signal(stop)
        process.wait(10)
        while select.select([ours], [], [], 0.3)[0]:
            try:
                seen += os.read(ours, 65536)
            except OSError:
                break
    process.wait(10)
    os.close(ours)
    return seen.decode()


def plain(text: str) -> str:
    """What a person reads of it."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text).replace("\r", "")


def wait_until(condition: Callable[[], object], timeout_s: float = 30, what: str = "the condition") -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not hold within {timeout_s} s")
        time.sleep(0.05)


class Endpoint:
    """The receiver as a process of its own, with its ledger."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.ledger = folder / f"ledger-{time.monotonic_ns()}.jsonl"
        self.ledger.touch()
        self._options = options
        self._prefix: tuple[str, ...] = ()
        self.port = 0
        self.start_again()

    def start_again(self) -> None:
        """Starts it, after :meth:`kill` on the same port."""
        self._process = subprocess.Popen(
            [*self._prefix, sys.executable, "-m", "qctl.demo.receiver", str(self.ledger), *self._options,
             "--port", str(self.port)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}/hook"

    def become(self, *options: str) -> None:
        """Behaves otherwise from now on, at the same place."""
        self.kill()
        self._options = options
        self.start_again()

    def move_into(self, *prefix: str) -> None:
        """Runs behind this command from now on, in a network namespace say."""
        self.kill()
        self._prefix = prefix
        self.start_again()

    def entries(self) -> list[Entry]:
        return read_ledger(self.ledger)

    def accepted(self) -> Counter:
        """How often each webhook-id was answered 2xx."""
        return Counter(e.webhook_id for e in self.entries() if e.answer.startswith("2"))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def close(self) -> None:
        self.kill()


class WorkerProcess:
    """``qctl worker`` as users run it."""

    def __init__(self, dsn: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [str(QCTL), "worker", *arguments],
            env=environment(QCTL_DSN=dsn),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def running(self) -> bool:
        return self._process.poll() is None

    def end(self, timeout: float = 30) -> tuple[int, str]:
        """Waits for the end; exit code and stderr."""
        _, talk = self._process.communicate(timeout=timeout)
        return self._process.returncode, talk

    def close(self) -> None:
        if self.running():
            self._process.kill()
        self._process.communicate()
