"""pgmq as an extension, which is how hosts run it: its control file and script, written from the SQL that PyPI serves."""

import tempfile
from pathlib import Path

import psycopg
from pgmq.install import get_embedded_install_sql

# Up to 1.5 a queue's tables and sequence become members of the extension, and dropping a queue takes them out first. PyPI has no
# such version: this stands in for it.
_MEMBERS = """
alter function pgmq.create_non_partitioned(text) rename to standin_create;
create function pgmq.create_non_partitioned(queue_name text) returns void language plpgsql as $standin$
begin
  perform pgmq.standin_create(queue_name);
  if not pgmq._belongs_to_pgmq('q_' || queue_name) then
    execute format('alter extension pgmq add table pgmq.%I', 'q_' || queue_name);
    execute format('alter extension pgmq add sequence pgmq.%I', 'q_' || queue_name || '_msg_id_seq');
  end if;
  if not pgmq._belongs_to_pgmq('a_' || queue_name) then
    execute format('alter extension pgmq add table pgmq.%I', 'a_' || queue_name);
  end if;
end
$standin$;
alter function pgmq.drop_queue(text) rename to standin_drop;
create function pgmq.drop_queue(queue_name text) returns boolean language plpgsql as $standin$
begin
  execute format('alter extension pgmq drop table pgmq.%I', 'q_' || queue_name);
  execute format('alter extension pgmq drop sequence pgmq.%I', 'q_' || queue_name || '_msg_id_seq');
  execute format('alter extension pgmq drop table pgmq.%I', 'a_' || queue_name);
  return pgmq.standin_drop(queue_name);
end
$standin$;
"""
NEWEST = "1.13.0"
MEMBERS = "1.5.1"
# The real file, where somebody put it: pgmq-extension/sql/pgmq.sql of that tag.
REAL = Path(__file__).parents[1] / ".venv/matrix/pgmq-1.5.1.sql"


def write(folder: Path, *, members: bool) -> None:
    """Writes ``extension/pgmq.control`` and its script.

    Args:
        folder: the folder above; it is made readable for everyone.
        members: of the kind whose queue tables are members of the extension.
    """
    version = MEMBERS if members else NEWEST
    standin = get_embedded_install_sql() + (_MEMBERS if members else "")
    script = REAL.read_text() if members and REAL.exists() else standin
    extension = folder / "extension"
    extension.mkdir()
    (extension / "pgmq.control").write_text(
        f"default_version = '{version}'\nschema = 'pgmq'\nrelocatable = false\nsuperuser = false\n"
    )
    (extension / f"pgmq--{version}.sql").write_text(script)
    for path in (folder, extension, *extension.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)


def offer(superuser_uri: str, *, members: bool) -> Path:
    """Makes a server, 18 or newer, offer the extension; returns the folder, to be deleted when the server is gone."""
    folder = Path(tempfile.mkdtemp(prefix="qctl-extension-"))
    write(folder, members=members)
    with psycopg.connect(superuser_uri, autocommit=True) as connection:
        connection.execute(f"alter system set extension_control_path = '{folder}:$system'")
        connection.execute("select pg_reload_conf()")
    return folder
