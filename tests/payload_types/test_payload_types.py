"""qctl types: what it writes accepts what the database sends, and nothing else; breaking changes are found."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from every_type import ROWS, WHOLE, fill, mutations
from jsonschema import Draft202012Validator

from helpers import create, one
from processes import ok, qctl

HERE = Path(__file__).parent
DENO = Path(sys.executable).with_name("deno")
SIMPLE = "create table public.orders (id int primary key, total numeric(10, 2) not null, state text, tags text[])"


@pytest.fixture(scope="module")
def everything(shared_dsn, tmp_path_factory) -> Path:
    """A folder with payloads of a table of every type, mutated ones, and what ``qctl types`` writes."""
    import psycopg

    folder = tmp_path_factory.mktemp("types")
    with psycopg.connect(shared_dsn, autocommit=True) as conn:
        create(conn)
        conn.execute((HERE / "every_type.sql").read_bytes())
        conn.execute("select qctl.attach('public.everything', 'orders')")
        conn.execute("set timezone = 'Asia/Kolkata'; set intervalstyle = 'iso_8601'; set datestyle = 'German'")
        fill(conn)
        texts = [row[0] for row in conn.execute("select message::text from pgmq.q_orders order by msg_id")]
    chance = random.Random(2)
    whole = [payload for payload in map(json.loads, texts) if "truncated" not in payload]
    (folder / "payloads.jsonl").write_text("\n".join(texts))
    (folder / "mutated.jsonl").write_text("\n".join(json.dumps(mutations(payload, chance)) for payload in whole))
    for form, name in (("ts", "ts"), ("zod", "zod.ts"), ("json-schema", "schema.json"), ("asyncapi", "asyncapi.json")):
        (folder / f"payload.{name}").write_text(ok("types", f"--{form}", dsn=shared_dsn).stdout)
    return folder


def deno(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    config = folder / "deno.json"
    config.write_text('{"imports": {"zod": "npm:zod@4"}}')
    env = {**os.environ, "DENO_DIR": str(DENO.parents[1] / "deno"), "NO_COLOR": "1"}
    command = [str(DENO), arguments[0], "--no-lock", "--config", str(config), *arguments[1:]]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)


def needs_npm(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode and "npm" in done.stderr and ("fetch" in done.stderr or "resolve" in done.stderr):
        pytest.skip(f"npm cannot be had here: {done.stderr.strip().partition(chr(10))[0][:150]}")
    assert done.returncode == 0, done.stderr


def test_the_schema_accepts_what_is_sent_and_refuses_what_is_wrong(everything):
    validator = Draft202012Validator(json.loads((everything / "payload.schema.json").read_text()))
    payloads = list(map(json.loads, (everything / "payloads.jsonl").read_text().split("\n")))
    mutated = list(map(json.loads, (everything / "mutated.jsonl").read_text().split("\n")))
    assert len(payloads) >= ROWS
    assert {payload["operation"] for payload in payloads} == {"INSERT", "UPDATE", "DELETE"}
    assert any("truncated" in payload for payload in payloads)
    refused = [payload for payload in payloads if not validator.is_valid(payload)]
    assert refused == []
    assert [payload for payload in mutated if validator.is_valid(payload)] == []


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_typescript_compiles_and_ajv_and_zod_agree(everything):
    for name in ("accepts.ts",):
        (everything / name).write_text((HERE / name).read_text())
    needs_npm(deno(everything, "check", "accepts.ts"))
    done = deno(everything, "run", "-A", "accepts.ts")
    needs_npm(done)
    found = json.loads(done.stdout)
    mutated = len((everything / "mutated.jsonl").read_text().split("\n"))
    assert found["good"] == {"ajv": 0, "zod": 0}, found["first"]
    assert found["bad"] == {"ajv": mutated, "zod": mutated}
    assert found["read"] > 50


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_parser_of_asyncapi_reads_the_document(everything):
    if not WHOLE:
        pytest.skip("make test-types runs it")
    (everything / "async_api.ts").write_text((HERE / "async_api.ts").read_text())
    done = deno(everything, "run", "-A", "async_api.ts")
    needs_npm(done)
    assert json.loads(done.stdout) == {"errors": [], "messages": 1}


def test_a_sample_is_one_of_its_payloads(everything, shared_dsn):
    sample = json.loads(ok("types", "--sample", dsn=shared_dsn).stdout)
    validator = Draft202012Validator(json.loads((everything / "payload.schema.json").read_text()))
    assert list(validator.iter_errors(sample)) == []
    assert sample["record"]["u"] == "0b8b7c5e-1f4e-4a53-9d1b-6f2f3c9e8d10"


def test_numbers_that_javascript_rounds_are_named(shared_dsn, everything):
    said = ok("types", "--ts", dsn=shared_dsn).stderr
    assert "public.everything.i8 is bigint: JSON.parse rounds values of more than 15 digits" in said
    assert "public.everything.n is numeric:" in said
    assert "everything.n52 " not in said
    assert "everything.i4 " not in said


def test_columns_are_listed(conn, dsn):
    create(conn)
    missing = qctl("types", "-q", "orders", dsn=dsn)
    assert (missing.returncode, "qctl attach SCHEMA.TABLE -q orders" in missing.stderr) == (6, True)
    conn.execute(SIMPLE)
    conn.execute("select qctl.attach('public.orders', 'orders')")
    rows = json.loads(ok("types", "-o", "json", dsn=dsn).stdout)
    assert [(row["column"], row["type"], row["json"], row["nullable"]) for row in rows] == [
        ("id", "integer", "integer", False),
        ("total", "numeric(10,2)", "number", False),
        ("state", "text", "string", True),
        ("tags", "text[]", "array", True),
    ]


@pytest.mark.parametrize("form", ["ts", "zod", "json-schema", "asyncapi"])
@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ("select 1", ""),
        ("alter table public.orders add note text", ""),
        ("alter table public.orders alter state set not null", ""),
        ("alter table public.orders alter total type int", ""),
        ("alter table public.orders drop state", "record.state is gone"),
        ("alter table public.orders rename state to status", "record.state is gone"),
        ("alter table public.orders alter total drop not null", "record.total may be null now"),
        ("alter table public.orders alter total type text", "record.total: is text and was numeric(10,2)"),
        ("alter table public.orders alter tags type text using null", "record.tags: is text and was text[]"),
        ("alter table public.orders alter total type numeric", "record.total: the value 'Infinity' is new"),
        ("alter table public.orders alter state type bytea using null", "record.state: is bytea and was text"),
        ("alter table public.orders alter state type varchar(9)", ""),
        ("alter table public.orders alter total type numeric(30, 2)", "rounds values of more than 15 digits"),
        ("alter table public.orders set schema other", "is new"),
        ("select qctl.detach('public.orders'), qctl.attach('public.orders', 'orders', '{INSERT,TRUNCATE}')", "TRUNCATE"),
        ("select qctl.change_attachment('public.orders', 'orders', '{\"payload\": \"supabase\"}')", "is new"),
        ("select qctl.change_attachment('public.orders', 'orders', '{\"body_sql\": \"new.id\"}')", "any is new"),
    ],
)  # fmt: skip
def test_a_change_that_breaks_receivers_is_found(conn, dsn, tmp_path, form, change, broken):
    if form != "ts" and not WHOLE and change != "alter table public.orders drop state":
        pytest.skip("make test-types runs it")
    create(conn)
    conn.execute("create schema other")
    conn.execute(SIMPLE)
    conn.execute("select qctl.attach('public.orders', 'orders')")
    file = tmp_path / "types"
    file.write_text(ok("types", f"--{form}", dsn=dsn).stdout)
    conn.execute(change)
    done = qctl("types", "--check", str(file), dsn=dsn)
    assert done.returncode == (8 if broken else 0), done.stdout + done.stderr
    assert broken in done.stdout
    if broken:
        assert f"qctl types -q orders --{form} > " in done.stderr
    else:
        assert done.stdout == ""
    assert one(conn, "select 1") == 1


def test_enums_and_tables(conn, dsn, tmp_path):
    create(conn)
    conn.execute("create type public.state as enum ('new', 'paid')")
    conn.execute("create table public.a (id int primary key, state public.state)")
    conn.execute("create table public.b (id int primary key)")
    conn.execute("select qctl.attach('public.a', 'orders'), qctl.attach('public.b', 'orders')")
    file = tmp_path / "types.ts"
    file.write_text(ok("types", "--ts", dsn=dsn).stdout)
    conn.execute("select qctl.detach('public.b')")
    assert qctl("types", "--check", str(file), dsn=dsn).returncode == 0
    conn.execute("alter type public.state add value 'gone'")
    done = qctl("types", "--check", str(file), dsn=dsn)
    assert (done.returncode, "record.state: the value 'gone' is new" in done.stdout) == (8, True)


@pytest.mark.parametrize("format_", ["cloudevents", "supabase", "slack", "discord"])
def test_each_format_is_described_as_it_is_sent(conn, dsn, format_):
    create(conn)
    conn.execute(SIMPLE)
    conn.execute("select qctl.attach('public.orders', 'orders', p_payload => %s)", [format_])
    conn.execute("insert into public.orders values (1, 1.5, 'new', '{a}')")
    conn.execute("update public.orders set total = 2")
    conn.execute("delete from public.orders")
    schema = json.loads(ok("types", "--json-schema", dsn=dsn).stdout)
    validator = Draft202012Validator(schema)
    payloads = [row[0] for row in conn.execute("select message from pgmq.q_orders")]
    assert len(payloads) == 3
    assert [list(validator.iter_errors(payload)) for payload in payloads] == [[], [], []]
    assert not validator.is_valid({"operation": "INSERT"})


def test_some_columns_of_a_backfill_and_rows_that_are_too_large_are_accepted(conn, dsn):
    create(conn)
    conn.execute("create table public.orders (id int primary key, a text not null, b int not null)")
    for format_ in ("qctl", "cloudevents"):
        conn.execute("select qctl.attach('public.orders', 'orders', p_payload => %s, p_max_bytes => 4000)", [format_])
        conn.execute(
            "insert into public.orders values (1, (select string_agg(md5(n::text), '') from generate_series(1, 500) n), 1)"
        )
        conn.execute("update public.orders set a = 'short'")
        ok("backfill", "public.orders", "-q", "orders", "--columns", "b", dsn=dsn)
        validator = Draft202012Validator(json.loads(ok("types", "--json-schema", dsn=dsn).stdout))
        payloads = [row[0] for row in conn.execute("select message from pgmq.q_orders order by msg_id")]
        assert len(payloads) == 3
        assert [list(validator.iter_errors(payload)) for payload in payloads] == [[], [], []]
        conn.execute("select qctl.detach('public.orders'); truncate pgmq.q_orders; delete from public.orders")


def test_a_body_hides_no_change_of_another_table(conn, dsn, tmp_path):
    create(conn)
    conn.execute(SIMPLE)
    conn.execute("create table public.other (id int primary key)")
    conn.execute(
        "select qctl.attach('public.orders', 'orders'), qctl.attach('public.other', 'orders', p_body => 'new.id')"
    )
    file = tmp_path / "types.ts"
    file.write_text(ok("types", "--ts", dsn=dsn).stdout)
    conn.execute("alter table public.orders drop state")
    assert "record.state is gone" in qctl("types", "--check", str(file), dsn=dsn).stdout


def test_a_table_without_columns(conn, dsn):
    create(conn)
    conn.execute("create table public.nothing ()")
    conn.execute("select qctl.attach('public.nothing', 'orders')")
    for option in ("--ts", "--json-schema", "--sample"):
        ok("types", option, dsn=dsn)


def test_files_of_others_are_refused(conn, dsn, tmp_path):
    create(conn)
    damaged = '// qctl-shape {"version": 1, "form": "ts", "queue": "a", "root": "X", "types": '
    for name, text in (
        ("empty", ""), ("other", '{"a": 1}'), ("list", "[1]"), ("no root", damaged + "{}}"),
        ("endless", damaged + '{"X": {"kind": "named", "name": "X"}}}'), ("older", damaged.replace("1", "0") + "{}}"),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
        refused = qctl("types", "--check", str(tmp_path / name), dsn=dsn)
        assert (refused.returncode, "was not written by qctl types" in refused.stderr) == (2, True)
    assert qctl("types", "--check", str(tmp_path / "nothing"), dsn=dsn).returncode == 2
    assert qctl("types", "--ts", "--zod", dsn=dsn).returncode == 2
