"""Rows of a table with every type of PostgreSQL: usual values, extremes, and nulls."""

import os
import random
from uuid import UUID

import psycopg

# All of the rows; otherwise enough of them to see that each kind is right.
WHOLE = os.environ.get("QCTL_TEST_TYPES") == "1"
ROWS = 1000 if WHOLE else 150
# Of each column what may stand there, as SQL.
VALUES: dict[str, tuple[str, ...]] = {
    "b": ("true", "false"),
    "i2": ("-32768", "32767", "null"),
    "i4": ("-2147483648", "2147483646", "0"),
    "i8": ("-9223372036854775808", "9223372036854775807", "9007199254740993", "null"),
    "f4": ("'NaN'", "'Infinity'", "1.5", "3.4e38", "null"),
    "f8": ("'-Infinity'", "1e308", "0.1", "-0.0", "'NaN'"),
    "n": ("'NaN'", "'Infinity'", "1e30", "0.000000000000000000001", "123", "null"),
    "n52": ("999.99", "-0.01", "'NaN'", "null"),
    "n20": ("99999999999999999999", "null"),
    "t": ("''", "'plain'", "repeat('x', 300)", "E'\\u2028 \"quoted\" \\\\'", "null"),
    "vc": ("'0123456789'", "'😀😀😀😀😀😀😀😀😀😀'", "null"),
    "c": ("'a'", "null"),
    "nm": ("'name'",),
    "ch": ("'z'", "null"),
    "u": ("gen_random_uuid()", "null"),
    "d": ("'2026-11-30'", "'infinity'", "'-infinity'", "'0044-03-15 BC'", "'5874897-12-31'", "null"),
    "ts": ("now()::timestamp", "'infinity'", "'0044-03-15 12:00 BC'", "'294276-12-31 23:59:59'", "null"),
    "tstz": ("now()", "'-infinity'", "'0044-03-15 12:00+00 BC'", "null"),
    "ti": ("'24:00'", "'01:02:03.456789'", "null"),
    "titz": ("'01:02:03+05:30'", "'24:00-15:59:59'", "null"),
    "iv": ("'1 year -2 days 03:00'", "'0'", "null"),
    "by": ("'\\x'", "'\\x00ff'", "null"),
    "bi": ("B'101'", "null"),
    "vb": ("B''", "B'10101'", "null"),
    "m": ("12.5::money", "null"),
    "ine": ("'192.0.2.1/24'", "'::1'", "null"),
    "ci": ("'192.0.2.0/24'", "null"),
    "ma": ("'08:00:2b:01:02:03'", "null"),
    "ma8": ("'08:00:2b:01:02:03:04:05'", "null"),
    "j": ("""'{"a": [1, null]}'""", "'null'", "'\"text\"'", "null"),
    "jb": ("""'{"a": {"b": 1e400}}'""", "'[]'", "'null'", "null"),
    "jp": ("'$.a[*]'", "null"),
    "x": ("'<a>&lt;</a>'", "null"),
    "po": ("'(1,2)'", "null"),
    "li": ("'{1,2,3}'", "null"),
    "ls": ("'[(0,0),(1,1)]'", "null"),
    "bo": ("'(1,1),(0,0)'", "null"),
    "pa": ("'((0,0),(1,1))'", "null"),
    "pg": ("'((0,0),(1,1),(1,0))'", "null"),
    "cir": ("'<(0,0),1>'", "null"),
    "tv": ("to_tsvector('simple', 'a b')", "null"),
    "tq": ("'a & b'", "null"),
    "o": ("42", "null"),
    "rc": ("'pg_class'", "null"),
    "lsn": ("'0/16B3748'", "null"),
    "snap": ("'10:20:10,14'", "null"),
    "x8": ("'42'", "null"),
    "r4": ("'[1,5)'", "'empty'", "null"),
    "r8": ("'(,5)'", "null"),
    "nr": ("'[1.5,2]'", "null"),
    "tr": ("'[2026-01-01,)'", "null"),
    "tzr": ("'[2026-01-01,2026-01-02)'", "null"),
    "dr": ("'[2026-01-01,2026-01-02)'", "null"),
    "mr": ("'{[1,2),[5,7)}'", "'{}'", "null"),
    "e": ("'sad'", "'it''s \"ok\"'", "null"),
    "em": ("'a@b'", "null"),
    "p": ("1",),
    "pl": ("row('s', 1, '{a,null}')", "row(null, null, null)"),
    "ia": ("'{1,null,3}'", "'{}'", "null"),
    "ta": ("'{}'", "'{\"a b\",c}'"),
    "ea": ("'{sad,null}'", "null"),
    "pla": ("array[row('s', 1, null)::public.place, null]", "null"),
    "i2d": ("'{{1,2},{3,null}}'", "'{}'", "null"),
    "ja": ("array['{\"a\": 1}'::jsonb, 'null'::jsonb, null]", "null"),
    "da": ("'{2026-11-30,infinity}'", "null"),
    "iv2": ("'1 2'", "null"),
    "ov": ("'1 2'", "null"),
    '"odd ""name"""': ("'x'", "null"),
    '"select"': ("1", "null"),
    '"a*/b"': ("'x'", "null"),
    '"ünï"': ("'ü'", "null"),
}  # fmt: skip


def fill(conn: psycopg.Connection, seed: int = 1) -> None:
    """Writes the rows, changes and deletes some."""
    chance = random.Random(seed)
    values_of = dict(VALUES)
    try:
        conn.execute("select '<a/>'::xml")
    except psycopg.errors.FeatureNotSupported:
        values_of["x"] = ("null",)
    for number in range(ROWS):
        values = {name: chance.choice(of) for name, of in values_of.items()}
        conn.execute(
            f"insert into public.everything (id, {', '.join(values)}) values ({number}, {', '.join(values.values())})".encode()
        )
    for number in range(0, ROWS, 3):
        name = chance.choice(list(values_of))
        changed = f"{name} = {chance.choice(values_of[name])}" + ("" if name == "i4" else ", i4 = i4 / 2")
        conn.execute(f"update public.everything set {changed} where id = {number}".encode())
    conn.execute("update public.everything set t = repeat(md5(random()::text), 100000) where id between 1 and 5")
    conn.execute("delete from public.everything where id % 7 = 0")


def mutations(payload: dict, chance: random.Random) -> dict:
    """The payload with one thing wrong that every receiver must notice."""
    side = "record" if payload["record"] else "old_record"
    row = dict(payload[side])
    wrong = {
        "missing": lambda: row.pop("b"),
        "null": lambda: row.update(i4=None),
        "text for a number": lambda: row.update(i4="1"),
        "number for a text": lambda: row.update(t=1),
        "fraction": lambda: row.update(i4=1.5),
        "too large": lambda: row.update(i2=40000),
        "no uuid": lambda: row.update(u=str(UUID(int=1)).replace("-", "")),
        "no date": lambda: row.update(d="30.11.2026"),
        "unknown value": lambda: row.update(e="angry"),
        "no array": lambda: row.update(ta="a"),
        "wrong item": lambda: row.update(ia=["x"]),
        "wrong inside": lambda: row.update(pl={"street": 1, "number": 1, "tags": None}),
        "not a number text": lambda: row.update(f8="many"),
        "odd bytes": lambda: row.update(by="\\x0"),
    }
    wrong[chance.choice(list(wrong))]()
    if payload["operation"] == "UPDATE" and chance.random() < 0.2:
        return {**payload, "table": "other"}
    return {**payload, side: row}
