"""pg_upgrade from Debian's PostgreSQL to the embedded one: everything comes along, and nothing is sent until it is armed."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from helpers import claim, create, one, settle
from processes import data, failing, ok
from qctl.demo import embedded
from servers import DebianServer, debian_binaries, free_port

pytestmark = pytest.mark.slow


def _as_owner(folder: Path, program: str, *arguments: str) -> None:
    """Runs one of the new PostgreSQL's programs, as user postgres where this is root."""
    as_owner = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*as_owner, str(embedded.binaries() / program), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    logs = "".join(path.read_text() for path in (folder / "data").glob("pg_upgrade_output.d/*/log/*.log"))
    assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}{logs[-3000:]}"


@pytest.fixture
def new_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="qctl-upgraded-"))
    folder.chmod(0o755)
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    yield folder
    if (folder / "data/postmaster.pid").exists():
        _as_owner(folder, "pg_ctl", "-D", str(folder / "data"), "-m", "immediate", "stop")
    shutil.rmtree(folder)


def test_everything_comes_along(new_folder, endpoint):
    if debian_binaries() is None:
        pytest.skip("no Debian PostgreSQL with pg_cron here: scripts/debian_parts.sh")
    if int(debian_binaries().parent.name) >= 18:
        pytest.skip("Debian's PostgreSQL is not older than the embedded one")
    site, old = endpoint(), DebianServer(shared_preload_libraries="''", **{"cron.database_name": "''"})
    old.start()
    try:
        with psycopg.connect(old.uri(), autocommit=True) as admin:
            admin.execute("create database app")
        ok("install", dsn=old.uri("app"))
        with psycopg.connect(old.uri("app"), autocommit=True) as conn:
            create(conn, url=site.url)
            conn.execute("create table public.users (id int primary key, name text)")
            conn.execute("select qctl.attach('public.users', 'orders', p_order_by => 'id')")
            conn.execute("insert into public.users select n, 'ana' from generate_series(1, 100) n")
            settle(conn, claim(conn, 10), 200)
            conn.execute(
                "select qctl.discard('orders', array(select msg_id from pgmq.q_orders order by msg_id limit 5))"
            )
        # Debian's 15.20 marks columns in a way that 18.6 does not know; newer releases have nothing to clear.
        for name in ("app", "postgres", "template1"):
            with psycopg.connect(old.uri(name), autocommit=True) as conn:
                conn.execute("update pg_attribute set attoptions = null where attoptions::text like '%%pg_attver%%'")
        old.stop()
        new = new_folder / "data"
        _as_owner(
            new_folder, "initdb", "-D", str(new), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-data-checksums"
        )  # fmt: skip
        _as_owner(
            new_folder, "pg_upgrade", "-b", str(debian_binaries()), "-B", str(embedded.binaries()),
            "-d", str(old.data), "-D", str(new), "-U", "postgres", "-s", str(new_folder),
        )  # fmt: skip
    finally:
        old.close()
    port = free_port()
    options = f"-c unix_socket_directories={new_folder} -c listen_addresses='' -c port={port}"
    _as_owner(new_folder, "pg_ctl", "-D", str(new), "-w", "-l", str(new_folder / "log"), "-o", options, "start")
    dsn = f"postgresql://postgres@/app?host={new_folder}&port={port}"
    assert data("status", "-o", "json", dsn=dsn)[0]["health"] == "unarmed"
    assert data("verify", "-o", "json", dsn=dsn) == []
    with psycopg.connect(dsn, autocommit=True) as conn:
        assert one(conn, "select count(*) from pgmq.q_orders") == 85
        assert one(conn, "select count(*) from pgmq.a_orders") == 10
        assert one(conn, "select count(*) from qctl.dead_letter") == 5
        conn.execute("insert into public.users values (101, 'eva')")
        assert (
            one(conn, "select message -> 'record' ->> 'name' from pgmq.q_orders order by msg_id desc limit 1") == "eva"
        )
    assert "not armed" in failing(7, "worker", "-q", "orders", "--drain", dsn=dsn)
    assert not site.accepted()
    assert "it is a copy of the one that was armed" in failing(7, "arm", dsn=dsn)
    ok("arm", "--yes", dsn=dsn)
    ok("worker", "-q", "orders", "--drain", dsn=dsn)
    assert sorted(site.accepted().values()) == [1] * 86
