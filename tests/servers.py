"""PostgreSQL servers for tests."""

import atexit
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import ClassVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from qctl.demo import embedded


def crash(uri: str) -> None:
    """Kills a backend with SIGKILL and returns when the server knows: from then on nobody is let in until it recovered."""
    with psycopg.connect(uri, autocommit=True) as witness:
        with psycopg.connect(uri, autocommit=True) as victim:
            os.kill(victim.info.backend_pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while not witness.closed:
            assert time.monotonic() < deadline, "the server did not notice that a backend was killed"
            with contextlib.suppress(psycopg.Error):
                witness.execute("select pg_sleep(0.02)")


def is_up(uri: str) -> bool:
    """Whether the server lets us in."""
    try:
        psycopg.connect(uri).close()
    except psycopg.Error:
        return False
    return True


class Server:
    """A PostgreSQL server that tests may stop and start again."""

    def __init__(self, embedded_server) -> None:
        self._server = embedded_server

    def uri(self, name: str = "postgres") -> str:
        return self._server.get_uri(name)

    def stop(self, how: str) -> None:
        """``fast``, ``immediate``, or ``kill`` for SIGKILL of a backend, which makes the server recover."""
        info = self._server.get_postmaster_info()
        if how == "kill":
            crash(self.uri())
            return
        os.kill(info.pid, signal.SIGINT if how == "fast" else signal.SIGQUIT)
        info.process.wait(30)

    def start(self) -> None:
        self._server.ensure_postgres_running()


class GivenServer(Server):
    """The server of QCTL_TEST_DSN, which tests may not stop."""

    def __init__(self, dsn: str) -> None:
        self._given = conninfo_to_dict(dsn)

    def uri(self, name: str = "postgres") -> str:
        return make_conninfo(**{**self._given, "dbname": name})


def start_embedded() -> Server:
    folder = Path(tempfile.mkdtemp(prefix="qctl-pg-")) / "data"
    folder.parent.chmod(0o755)
    # Registered first, so it runs after the server's own clean-up.
    atexit.register(shutil.rmtree, folder.parent, ignore_errors=True)
    return Server(embedded.start(folder, keep=False))


@cache
def debian_binaries() -> Path | None:
    """The folder of Debian's newest PostgreSQL that has pg_cron; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/lib/pg_cron.so"), key=lambda path: int(path.parts[-3]))
    return found[-1].parents[1] / "bin" if found else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class DebianServer:
    """A cluster of Debian's PostgreSQL in a temporary folder; root runs it as user postgres."""

    _made: ClassVar[dict[str, Path]] = {}

    def __init__(self, source: Path | None = None, superuser: str = "postgres", **settings: str) -> None:
        """Copies the data of ``source``, a stopped cluster or one's backup; without it, those of a fresh initdb."""
        self.superuser = superuser
        self.folder = Path(tempfile.mkdtemp(prefix="qctl-debian-"))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        self.data = self.folder / "data"
        self._owner = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        if self._owner:
            os.chown(self.folder, self._owner.pw_uid, self._owner.pw_gid)
        self.folder.chmod(0o755)
        self._run("cp", "-a", str(source or self._template()), str(self.data))
        self.port = free_port()
        lines = {
            "port": str(self.port), "listen_addresses": "'localhost'", "unix_socket_directories": f"'{self.folder}'",
            "shared_preload_libraries": "'pg_cron'", "cron.database_name": "'postgres'", "max_wal_senders": "4", **settings,
        }  # fmt: skip
        with (self.data / "postgresql.auto.conf").open("a") as conf:
            conf.write("".join(f"{name} = {value}\n" for name, value in lines.items()))

    def _run(self, *command: str) -> None:
        as_owner = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"] if self._owner else []
        done = subprocess.run(
            [*as_owner, *command], capture_output=True, text=True, check=False, cwd="/", stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"

    def tool(self, name: str, *arguments: str) -> None:
        """Runs one of PostgreSQL's programs."""
        self._run(str(debian_binaries() / name), *arguments)

    def _template(self) -> Path:
        if self.superuser not in DebianServer._made:
            data = Path(tempfile.mkdtemp(prefix="qctl-initdb-"))
            atexit.register(shutil.rmtree, data, ignore_errors=True)
            if self._owner:
                os.chown(data, self._owner.pw_uid, self._owner.pw_gid)
            self.tool("initdb", "-D", str(data), "-A", "trust", "-U", self.superuser, "-E", "UTF8", "--no-sync")
            DebianServer._made[self.superuser] = data
        return DebianServer._made[self.superuser]

    def start(self) -> None:
        self.tool("pg_ctl", "-D", str(self.data), "-w", "-l", str(self.folder / "log"), "start")

    def stop(self, how: str = "fast") -> None:
        self.tool("pg_ctl", "-D", str(self.data), "-w", "-m", how, "stop")

    def uri(self, name: str = "postgres", user: str | None = None) -> str:
        return f"postgresql://{user or self.superuser}@127.0.0.1:{self.port}/{name}"

    def kill_a_backend(self) -> None:
        """SIGKILL of a backend makes the server recover from a crash."""
        crash(self.uri())

    def close(self) -> None:
        if (self.data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)


class Pooler:
    """PgBouncer in front of a server, in a temporary folder and on a free port; it logs everybody in as they come."""

    def __init__(self, target: str, mode: str) -> None:
        """``mode`` is ``transaction`` or ``session``; ``target`` the URI of the server's database."""
        self.folder = Path(tempfile.mkdtemp(prefix="qctl-pooler-"))
        self.port = free_port()
        to = conninfo_to_dict(target)
        user = to["user"]
        host = f"host={to['host']} port={to['port']}" if to.get("port") else f"host={to['host']}"
        (self.folder / "users").write_text(f'"{user}" ""\n"admin" ""\n')
        (self.folder / "pgbouncer.ini").write_text(
            f"[databases]\n{to['dbname']} = {host} dbname={to['dbname']}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = trust\n"
            f"auth_file = {self.folder}/users\npool_mode = {mode}\nlogfile = {self.folder}/log\n"
            f"default_pool_size = 3\nmax_client_conn = 200\nserver_idle_timeout = 5\n"
        )
        program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        assert program
        as_other: list[str] = []
        if os.geteuid() == 0:
            # It refuses to run as root; whose socket that is may reach it.
            socket_folder = str(to["host"]) if str(to["host"]).startswith("/") else None
            other = Path(socket_folder).stat().st_uid if socket_folder else pwd.getpwnam("nobody").pw_uid
            as_other = ["setpriv", f"--reuid={other}", "--clear-groups"]
            for path in (self.folder, *self.folder.iterdir()):
                os.chown(path, other, -1)
        self._process = subprocess.Popen(
            [*as_other, program, "-q", str(self.folder / "pgbouncer.ini")], stderr=subprocess.DEVNULL
        )
        self.uri = f"postgresql://{user}@127.0.0.1:{self.port}/{to['dbname']}"
        deadline = time.monotonic() + 20
        while not is_up(self.uri):
            if time.monotonic() > deadline:
                log = (self.folder / "log").read_text()
                self.close()
                raise AssertionError(log)
            time.sleep(0.05)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)
