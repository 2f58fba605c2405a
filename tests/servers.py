"""PostgreSQL servers for tests."""

import atexit
import os
import shutil
import signal
import tempfile
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from qctl import embedded


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
            with psycopg.connect(self.uri(), autocommit=True) as admin:
                os.kill(admin.info.backend_pid, signal.SIGKILL)
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
