"""Runs each command's example on a database of its own and returns what it printed: the outputs in docs/cli.md are real.

The examples run in one story: a queue whose endpoint takes everything, one whose endpoint refuses, a table for each. Hosts,
ports and folders of the machine are written as ones that a reader would have.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

from qctl.demo import embedded

QCTL = Path(sys.executable).with_name("qctl")
LIMIT_S = 60
# What goes on until it is told to stop is told after some seconds.
_ENDLESS_S = {"worker": 4.0, "listen": 3.0, "web": 3.0, "tail": 3.0, "metrics": 2.0}
_CONFIG = """[profiles.prod]
dsn = "postgresql://me@db.example.com/app"

[defaults]
output = "plain"

[defaults.create]
allow-private = true

[defaults.worker]
allow-private = true
"""
_DECLARED = """[queues.orders]
url = "https://n8n.example.com/webhook/orders"
timeout = "30s"

[queues.orders.attach."public.orders"]
"""
# What schedules a job, as pg_cron's SQL objects look from outside; nothing runs it.
_CRON = """create schema cron;
create table cron.job (jobid bigserial, schedule text, command text, nodename text, nodeport int, database text, username text,
  active boolean default true, jobname name);
create table cron.job_run_details (jobid bigint, runid bigserial, job_pid int, database text, username text, command text,
  status text, return_message text, start_time timestamptz, end_time timestamptz);
create function cron.schedule(job_name text, schedule text, command text) returns bigint language sql as
$$ insert into cron.job (jobname, schedule, command, database, username) values ($1, $2, $3, current_database(), current_user)
   returning jobid $$;
create function cron.unschedule(job_id bigint) returns boolean language sql as
$$ with gone as (delete from cron.job where jobid = job_id returning true) select exists (select from gone) $$;"""
# In this order, for some need what others made. A command that stands here several times is shown by its first.
ORDER = (
    *(
        "install",
        "upgrade",
        "verify",
        "create",
        "attach",
        "set",
        "queues",
        "describe",
        "send",
        "test",
        "worker",
        "status",
    ),
    *(
        "depth",
        "lag",
        "capacity",
        "scale",
        "messages",
        "show",
        "dead",
        "tail",
        "check",
        "doctor",
        "replay",
        "discard",
        "pause",
    ),
    *(
        "resume",
        "purge",
        "partition",
        "metrics",
        "grant",
        "revoke",
        "arm",
        "secret.set",
        "secret.rotate",
        "secret.list",
        "secret.revoke",
        "secret.unset",
        "events",
        "apply",
        "export",
        "config.show",
        "backfill",
        "types",
        "listen",
        "web",
        "adopt-webhook",
        "detach",
        "completion",
    ),
    *("edge.init", "edge.wake", "edge.status", "edge.stop"),
    *("disarm", "drop", "config.label", "uninstall", "demo"),
)


class Story:
    """The database, the endpoints and the files that the examples speak of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = embedded.start(folder / "data", keep=False)
        self.admin = self.server.get_uri("postgres")
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute("create database app")
            connection.execute("create role colleague")
        self.dsn = self.server.get_uri("app")
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("create table public.orders (id int primary key, paid boolean)")
            connection.execute(
                "create table public.users (id int primary key, email text, name text, active boolean default true)"
            )
            connection.execute((Path(__file__).parents[1] / "tests/standin/net.sql").read_bytes())
            connection.execute("create schema supabase_functions")
            connection.execute(
                "create function supabase_functions.http_request() returns trigger language plpgsql"
                " as $$ begin return new; end $$"
            )
            connection.execute(
                "create trigger orders_to_n8n after insert on public.orders for each row execute function"
                " supabase_functions.http_request('https://n8n.example.com/webhook/o2', 'POST', '{}', '{}', '1000')"
            )
        (folder / "config.toml").write_text(_CONFIG)
        (folder / "qctl.toml").write_text(_DECLARED)
        self.good = self._endpoint("good")
        self.bad = self._endpoint("bad", "--fail-rate", "1", "--failures", "422")

    def _endpoint(self, name: str, *options: str) -> int:
        ledger = self.folder / f"{name}.jsonl"
        ledger.touch()
        process = subprocess.Popen(
            [sys.executable, "-m", "qctl.demo.receiver", str(ledger), *options], stdout=subprocess.PIPE, text=True
        )
        self._processes = [*getattr(self, "_processes", []), process]
        assert process.stdout
        return int(process.stdout.readline())

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()
        self.server.cleanup()

    def before(self, name: str) -> None:
        """What an example finds there."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            if name == "send":
                refused = f"http://127.0.0.1:{self.bad}/webhook/users"
                self.run("create", f"qctl create users --url {refused} --attach public.users")
                connection.execute("select qctl.set_queue('users', p_settings => '{\"reject_after\": 1}')")
                taken = f"http://127.0.0.1:{self.good}/webhook/orders"
                self.run("set", f"qctl set -q orders --url {taken}")
                connection.execute(
                    "insert into public.users values (1, 'ada@example.com', 'Ada'), (2, 'bob@example.com', 'Bob')"
                )
                connection.execute("insert into public.orders select generate_series(1, 20), true")
            elif name == "discard":
                connection.execute("insert into public.orders values (30, false)")
            elif name == "edge.wake":
                connection.execute(_CRON)
            elif name == "apply":
                self.run("set", "qctl set -q orders --timeout 5s")

    def run(self, name: str, line: str) -> str:
        """The output of a command line, stderr and stdout as a terminal shows them."""
        env = environment(self)
        if name == "config.show":
            del env["QCTL_DSN"]
        if name == "demo":
            env.pop("QCTL_DSN")
        process = subprocess.Popen(
            ["bash", "-c", f"exec 2>&1; {line}"], env=env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip
        if name in _ENDLESS_S:
            time.sleep(_ENDLESS_S[name])
            os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=LIMIT_S)
        # 8 is what check, doctor and apply --check say of this story; told to stop, the endless end well.
        if process.returncode not in ((0, 130) if name in _ENDLESS_S else (0, 8)):
            raise SystemExit(f"the example of {name} failed with exit {process.returncode}: {line}\n{output}")
        return output


def environment(told: Story) -> dict[str, str]:
    """What a command finds in its environment."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("QCTL_", "PG")) and k != "DATABASE_URL"}
    return env | {
        "PATH": f"{QCTL.parent}:{env.get('PATH', '')}", "QCTL_DSN": told.dsn, "QCTL_CONFIG": str(told.folder / "config.toml"),
        "COLUMNS": "120", "LC_ALL": "C.UTF-8",
    }  # fmt: skip


@contextlib.contextmanager
def story() -> Iterator[Story]:
    """The database and endpoints while the block runs."""
    folder = Path(tempfile.mkdtemp(prefix="qctl-examples-"))
    folder.chmod(0o755)
    told = Story(folder)
    try:
        yield told
    finally:
        told.close()
        shutil.rmtree(folder, ignore_errors=True)


def outputs(examples: dict[str, str], pictures: Callable[[Story], None]) -> dict[str, str]:
    """What each command's example printed.

    Args:
        examples: the line of each command; of one in a group by ``group.command``.
        pictures: called in the middle of the story, when there is something to see.
    """
    assert set(ORDER) == set(examples), set(ORDER) ^ set(examples)
    found: dict[str, str] = {}
    with story() as told:
        for name in ORDER:
            told.before(name)
            if name == "replay":
                pictures(told)
            found[name] = readable(told.run(name, _runnable(name, examples[name])), told)
    return found


def _runnable(name: str, line: str) -> str:
    """The line as it runs here: on the story's database, with ids that are there, agreed to, and with an end."""
    # Of the same length, so that columns keep their width.
    line = re.sub(r" --dsn \S+", "", line).replace("PROJECT", "project")
    if name in ("discard", "drop", "replay"):
        line = line.replace(f"qctl {name}", f"qctl {name} --yes")
    if name in ("attach", "detach"):
        return line.replace("-q users", "-q orders")
    return {
        "drop": line.replace("orders", "users"),
        "test": f"qctl worker -q orders >/dev/null 2>&1 & sleep 1.5; {line}; kill $!; wait",
        "messages": line.split(" | ")[0].replace(" --ids", "").replace("""'"ok":false'""", "ok"),
        "completion": line.split(" > ")[0],
        "secret.set": f"export N8N_TOKEN='Bearer x'; {line}",
        "secret.revoke": f"qctl secret rotate -q orders >/dev/null 2>&1; {line}",
        "secret.unset": f"printf x | qctl secret set old_token - >/dev/null 2>&1; {line}",
        "status": "qctl status",
        "discard": line.replace("orders/1234", "orders/25"),
        "show": line.replace("orders/1234", "orders/1"),
    }.get(name, line)


def readable(text: str, told: Story) -> str:
    """The output with names that a reader would have."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("project.supabase.co", "PROJECT.supabase.co")
    text = re.sub(r"whsec_[A-Za-z0-9+/=]+", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", text)
    text = re.sub(rf"http://127\.0\.0\.1:({told.good}|{told.bad})", "https://n8n.example.com", text)
    text = re.sub(r"http://127\.0\.0\.1:\d+", "http://127.0.0.1:38471", text)
    text = text.replace(f"{told.folder}/data:5432", "localhost:5432").replace(str(told.folder), "~/.config/qctl")
    text = re.sub(r"/\S*/\.venv/bin/", "", text)
    text = re.sub(rf"\b{re.escape(os.uname().nodename)}\b", "web1", text)
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    return "\n".join(lines if len(lines) <= 30 else [*lines[:28], "…"])
