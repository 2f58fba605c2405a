"""qctl edge where there is no pg_cron, and the files that it writes."""

import json
from types import SimpleNamespace

import pytest

from processes import environment, failing, ok, qctl
from qctl.cli import edge_files
from qctl.errors import UsageError
from qctl.operations import edge


def init(folder, *arguments: str, code: int = 0, **keywords):
    done = qctl("edge", "init", "--dir", str(folder), *arguments, "-o", "json", **keywords)
    assert done.returncode == code, done.stderr
    return {row["file"].rpartition("/")[2]: row["done"] for row in json.loads(done.stdout or "[]")}, done.stderr


def test_files_are_written_updated_and_never_written_over(tmp_path):
    folder = tmp_path / "supabase/functions/hook"
    rows, talk = init(folder)
    assert set(rows.values()) == {"written"}
    assert {"index.ts", "worker.ts", "deno.json", "version.ts"} <= set(rows)
    assert "functions/v1/hook" in talk
    assert "0.0.0" not in (folder / "version.ts").read_text()
    assert set(init(folder)[0].values()) == {"unchanged"}
    # As an older version wrote them: known by their digests.
    manifest = json.loads((folder / "qctl.json").read_text())
    for name, text in (("worker.ts", "// older\n"), ("gone.ts", "// no longer needed\n")):
        (folder / name).write_text(text)
        manifest["files"][name] = edge.digest(text)
    (folder / "qctl.json").write_text(json.dumps(manifest))
    rows, _ = init(folder)
    assert {name: done for name, done in rows.items() if done != "unchanged"} == {
        "worker.ts": "updated",
        "gone.ts": "removed",
    }
    assert not (folder / "gone.ts").exists()
    # By hand.
    (folder / "sender.ts").write_text("// mine\n")
    (folder / "index.ts").unlink()
    _, talk = init(folder, code=7)
    assert "not as qctl wrote it" in talk
    assert "--force" in talk
    assert not (folder / "index.ts").exists(), "nothing is written then"
    assert (folder / "sender.ts").read_text() == "// mine\n"
    init(folder, "--force")
    assert set(init(folder)[0].values()) == {"unchanged"}


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot write the function" in init(tmp_path / "file", code=2)[1]
    (tmp_path / "there").mkdir()
    (tmp_path / "there/index.ts").write_text("// somebody else's function\n")
    assert "index.ts" in init(tmp_path / "there", code=7)[1]


@pytest.mark.parametrize(
    ("dsn", "project"),
    [
        ("postgresql://postgres@db.abcdefghij.supabase.co/postgres", "abcdefghij"),
        ("postgresql://postgres.abcdefghij@aws-0-eu-west-1.pooler.supabase.com:6543/postgres", "abcdefghij"),
        ("postgresql://postgres@localhost/app", "PROJECT"),
        ("nonsense", "PROJECT"),
    ],
)
def test_the_printed_address_is_that_of_the_project(tmp_path, dsn, project):
    talk = init(tmp_path / "qctl-worker", "--dsn", dsn)[1]
    assert f"edge wake --url https://{project}.supabase.co/functions/v1/qctl-worker" in talk.replace(
        f"--dsn '{dsn}' ", ""
    )


def at(host: str, user: str = "postgres", port: int = 5432, tls: bool = False):
    info = SimpleNamespace(host=host, user=user, port=port, dbname="postgres")
    return SimpleNamespace(info=info, pgconn=SimpleNamespace(ssl_in_use=tls))


def test_workers_connect_through_the_pooler_of_a_project():
    pooled = edge.place(at("aws-0-eu-west-1.pooler.supabase.com", "postgres.abc"), None)
    assert pooled.dsn("qctl_edge", "p/w") == (
        "postgresql://qctl_edge.abc:p%2Fw@aws-0-eu-west-1.pooler.supabase.com:6543/postgres?sslmode=require"
    )
    with pytest.raises(UsageError, match="direct connection"):
        edge.place(at("db.abc.supabase.co"), None)
    named = edge.place(at("db.abc.supabase.co"), "aws-0-eu-west-1.pooler.supabase.com")
    assert named.dsn("e", "p").startswith("postgresql://e.abc:p@aws-0-eu-west-1.pooler.supabase.com:6543/")
    for tls, mode in ((True, "require"), (False, "disable")):
        there = edge.place(at("db.example.com", tls=tls), None).dsn("e", "p")
        assert there == f"postgresql://e:p@db.example.com:5432/postgres?sslmode={mode}"
    assert edge.place(at("/run/pg"), None).dsn("e", "p") == "postgresql://e:p@/postgres?host=/run/pg"
    assert edge.password_of(pooled.dsn("qctl_edge", "p/w"), "qctl_edge") == "p/w"
    assert edge.password_of(pooled.dsn("qctl_edge", "p/w"), "other") is None
    assert edge.password_of(None, "qctl_edge") is None
    known = pooled.dsn("qctl_edge", "p")
    assert edge.serves(known, at("db.abc.supabase.co"), "qctl_edge")
    assert edge.serves(known, at("aws-0-eu-west-1.pooler.supabase.com", "postgres.abc"), "qctl_edge")
    assert not edge.serves(known, at("db.xyz.supabase.co"), "qctl_edge")
    assert not edge.serves(known, at("db.abc.supabase.co"), "other")
    assert not edge.serves(None, at("db.abc.supabase.co"), "qctl_edge")


def test_other_lines_of_the_files_stay_as_they_are(tmp_path):
    path = tmp_path / ".env.qctl"
    others = '# mine\nAPI_KEY=\'it is "quoted"\'\nESC="end\\""\n'
    path.write_text(others + 'QCTL_DSN="old"\n')
    (tmp_path / ".gitignore").write_bytes(b"caf\xe9")
    edge_files.write_secrets(path, {"QCTL_DSN": "new", "QCTL_WAKE_SECRET": "w"})
    assert path.read_text() == others + 'QCTL_DSN="new"\nQCTL_WAKE_SECRET="w"\n'
    assert (tmp_path / ".gitignore").read_bytes() == b"caf\xe9\n/.env.qctl\n"
    assert edge_files.read_secrets(path) == {"QCTL_DSN": "new", "QCTL_WAKE_SECRET": "w"}


def test_without_pg_cron_it_says_what_to_run(dsn):
    url = "https://abc.supabase.co/functions/v1/qctl-worker"
    talk = failing(4, "edge", "wake", "--url", url, dsn=dsn)
    assert "pg_cron is not available" in talk
    assert "qctl worker" in talk
    printed = ok("edge", "wake", "--url", url, "--sql", dsn=dsn).stdout
    assert f'select * from "qctl"."set_edge"("p_url" => \'{url}\');' in printed
    assert ok("edge", "stop", "--sql", dsn=dsn).stdout == 'select * from "qctl"."stop_edge"();\n'
    assert "no Edge Function is known here" in failing(6, "edge", "status", dsn=dsn)


def test_its_help_is_reached_without_a_database():
    done = qctl("edge", "--help", **{k: v for k, v in environment().items() if k == "PATH"})
    assert done.returncode == 0
    for verb in ("init", "wake", "status", "stop"):
        assert verb in done.stdout
