"""TAB in real shells: commands, options, and names and ids from the database."""

import contextlib
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from helpers import claim, create, send, settle
from processes import QCTL, environment, qctl

SCRIPTS = Path(__file__).parents[2] / "completions"
PATIENCE = 60.0  # seconds for an answer on a busy machine
PROFILES = '[profiles.dev]\nhost = "x"\n\n[profiles."$(touch owned)"]\nhost = "x"\n'


def _plain(seen: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\x07\x08]", "", seen)


class Terminal:
    """A shell at a terminal that has read the completion."""

    def __init__(self, shell: str, folder: Path, dsn: str) -> None:
        if shutil.which(shell) is None:
            pytest.skip(f"no {shell} here: scripts/debian_parts.sh")
        (folder / "config.toml").write_text(PROFILES)
        env = environment(
            QCTL_DSN=dsn, QCTL_CONFIG=str(folder / "config.toml"), TERM="dumb", HOME=str(folder), COLUMNS="200", LINES="60",
        )  # fmt: skip
        env["PATH"] = f"{QCTL.parent}:{env['PATH']}"
        command = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"]}[shell]
        self._spawned = pexpect.spawn(
            shell, command, env=env, cwd=str(folder), encoding="utf-8", timeout=20, dimensions=(60, 200)
        )
        ready = {
            "bash": f"source {SCRIPTS}/qctl.bash; bind 'set enable-bracketed-paste off'; bind 'set page-completions off'",
            "zsh": f"fpath=({SCRIPTS} $fpath); autoload -U compinit; compinit -u -d {folder}/dump; setopt NO_BEEP",
        }[shell]
        self._spawned.sendline(f"{ready}; PS1='READY> '")
        self._spawned.expect("\r\n.*READY> ")

    def tab(self, line: str, *wanted: str, tabs: int = 1) -> str:
        """What the screen shows after the line and TABs, once it shows all that is wanted; the line is then cleared."""
        self._spawned.send(line + "\t")
        for _ in range(tabs - 1):
            self._read_until(lambda seen: "\x07" in seen)
            self._spawned.send("\t")
        seen = self._read_until(lambda seen: all(word in _plain(seen) for word in wanted))
        self._spawned.send("\x15\r")
        self._spawned.expect("READY> ")
        return _plain(seen)

    def _read_until(self, shown: Callable[[str], bool]) -> str:
        seen = ""
        end = time.monotonic() + PATIENCE
        while not shown(seen) and time.monotonic() < end:
            with contextlib.suppress(pexpect.TIMEOUT):
                seen += self._spawned.read_nonblocking(10_000, timeout=0.5)
        return seen

    def close(self) -> None:
        self._spawned.close(force=True)


@pytest.fixture
def full(conn):
    create(conn, reject_after=1)
    create(conn, "bills")
    conn.execute("create table public.users (id int primary key)")
    conn.execute("""create table public."u$(touch owned)" (id int primary key)""")
    conn.execute("select qctl.attach('public.users', 'orders')")
    conn.execute("""select qctl.attach('public."u$(touch owned)"', 'orders')""")
    send(conn, 3)
    settle(conn, claim(conn, 2), [400, 200])
    return conn


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_at_a_terminal(full, dsn, tmp_path, shell):
    terminal = Terminal(shell, tmp_path, dsn)
    try:
        for line, *wanted in [
            ("qctl repl", "qctl replay "),
            ("qctl purge --old", "--older-than"),
            ("qctl status -q o", "qctl status -q orders"),
            ("qctl detach pub", "qctl detach public.users"),
            ("qctl replay ord", "qctl replay orders/1"),
            ("qctl discard ord", "qctl discard orders/3"),
            ("qctl status --profile d", "--profile dev"),
        ]:
            seen = terminal.tab(line, *wanted)
            assert all(word in seen for word in wanted), (line, seen)
        queues = terminal.tab("qctl describe ", "bills", "orders", tabs=2 if shell == "bash" else 1)
        assert "bills" in queues
        assert "orders" in queues
    finally:
        terminal.close()
    assert not (tmp_path / "owned").exists()


def fish(folder: Path, dsn: str, line: str) -> list[str]:
    if shutil.which("fish") is None:
        pytest.skip("no fish here: scripts/debian_parts.sh")
    (folder / "config.toml").write_text(PROFILES)
    env = environment(QCTL_DSN=dsn, QCTL_CONFIG=str(folder / "config.toml"), HOME=str(folder))
    env["PATH"] = f"{QCTL.parent}:{env['PATH']}"
    script = f"source {SCRIPTS}/qctl.fish; complete -C '{line}'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        env=env,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return [found.split("\t")[0] for found in done.stdout.splitlines()]


def test_in_fish(full, dsn, tmp_path):
    assert "replay" in fish(tmp_path, dsn, "qctl repl")
    assert fish(tmp_path, dsn, "qctl describe ") == ["bills", "orders"]
    assert fish(tmp_path, dsn, "qctl status -q o") == ["orders"]
    assert fish(tmp_path, dsn, "qctl detach pub") == ["public.users"]
    assert fish(tmp_path, dsn, "qctl replay ord") == ["orders/1"]
    assert fish(tmp_path, dsn, "qctl discard ord") == ["orders/3"]
    assert fish(tmp_path, dsn, "qctl status --profile ") == ["dev"]
    assert not (tmp_path / "owned").exists()


def test_it_is_silent_when_the_database_does_not_answer(tmp_path):
    for dsn in ("postgresql://127.0.0.1:1/nothing", "nonsense"):
        assert "orders" not in fish(tmp_path, dsn, "qctl describe ")
        assert "replay" in fish(tmp_path, dsn, "qctl repl")


@pytest.mark.parametrize(("shell", "file"), [("bash", "qctl.bash"), ("zsh", "_qctl"), ("fish", "qctl.fish")])
def test_the_command_prints_what_is_generated(shell, file):
    assert qctl("completion", shell).stdout == (SCRIPTS / file).read_text()
