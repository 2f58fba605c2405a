"""The edge worker and addresses that are not public; what its logs and its errors may not hold."""

import json

import pytest
from isolate import WHOLE, Isolate, known_function, missing, new_wake, signed

from helpers import create, one, send, states
from processes import wait_until
from verifier import verifying

HOSTS = [
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.0.0.1.", "0.0.0.0", "0", "[::1]", "[::]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "localhost", "LOCALHOST",
    "localhost.", "10.0.0.1", "10.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0xa9fea9fe", "[::ffff:169.254.169.254]",
    "[fd00:ec2::254]", "100.64.0.1", "198.18.0.1", "[fe80::1]", "[fc00::1]",
]  # fmt: skip


def run(conn, isolate, **settings) -> None:
    function, secret = isolate(QCTL_IDLE_S="1", ISOLATE_LEAVES="1", **settings)
    assert function.post(signed(secret, new_wake(conn)))[0] == 202
    wait_until(lambda: not function.running())


def test_nothing_arrives_however_the_address_is_written(conn, isolate):
    with verifying() as anyone:
        for number, host in enumerate(HOSTS):
            url = f"http://{host}:{anyone.server_address[1]}/hook"
            conn.execute(
                "select qctl.create_queue(%s, %s, p_settings => '{\"timeout_ms\": 2000}')", (f"q{number}", url)
            )
            send(conn, 1, f"q{number}")
        run(conn, isolate)
    assert anyone.refused == anyone.taken == []
    rows = conn.execute(
        "select queue_name, outcome, error from qctl.queue left join qctl.attempt using (queue_id)"
    ).fetchall()
    assert len(rows) == len(HOSTS)
    for name, outcome, error in rows:
        refused = "is not a public address; to allow it: qctl set -q" in error or "resolve" in error
        assert (outcome, refused) == ("retrying", True), (HOSTS[int(name[1:])], error)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] if WHOLE else ["localhost"])
def test_the_same_is_reached_when_the_operator_says_so(conn, endpoint, isolate, host):
    receiver = endpoint()
    create(conn, url=receiver.url.replace("127.0.0.1", host), allow_networks=["127.0.0.0/8", "::1/128"])
    ids = send(conn)
    run(conn, isolate)
    assert states(conn, ids) == {"delivered": 1}


def test_planted_secrets_and_payloads_are_in_no_line_it_writes(conn, dsn, endpoint):
    """Delivered, failed, refused by the database, at a URL with a secret: its logs and the answers to wakes stay clean."""
    if why := missing():
        pytest.skip(why)
    receiver = endpoint("--fail-rate", "0.5", "--failures", "500,reset")
    create(conn, url=receiver.url + "?key=planted-query", retry_schedule_s=[1] * 20, breaker_after=0)
    create(conn, "nowhere", url="http://127.0.0.1:9/planted-path?key=planted-query")
    conn.execute("select qctl.set_header_secret('token', 'planted-header')")
    conn.execute("""select qctl.set_queue('orders', p_headers => '{"authorization": "secret:token"}')""")
    for queue in ("orders", "nowhere"):
        conn.execute('select qctl.send(%s, array_fill(\'{"note": "planted-payload"}\'::jsonb, array[20]))', [queue])
    secret = known_function(conn)
    function = Isolate(dsn, secret, QCTL_IDLE_S="3", ISOLATE_LEAVES="1")
    first = function.post(signed(secret, new_wake(conn)))
    code, errors = function.end(60)
    assert (first[0], code) == (202, 0)
    assert one(conn, "select count(*) from qctl.attempt where outcome = 'delivered'") > 0
    wrong = Isolate("postgresql://someone:planted-password@127.0.0.1:9/planted-database", secret)
    refused = wrong.post(signed(secret, new_wake(conn)))
    wrong.close()
    assert refused[0] == 503
    written = "".join([*function.lines, errors, *wrong.lines, *wrong._errors, json.dumps([first, refused])])
    assert "planted" not in written
    assert secret.removeprefix("whsec_") not in written
    assert "planted" not in str(conn.execute("select error from qctl.attempt").fetchall())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"QCTL_DSN": ""}, "QCTL_DSN is not set"),
        ({"QCTL_DSN": "host=x"}, "QCTL_DSN is not a connection URL"),
        ({"QCTL_WAKE_SECRET": ""}, "QCTL_WAKE_SECRET is not set"),
        ({"QCTL_CPU_MS": "many"}, "cpuMs is not a number"),
    ],
)
def test_a_setting_that_is_wrong_is_named(conn, isolate, settings, says):
    function, secret = isolate(**settings)
    status, answer = function.post(signed(secret, new_wake(conn)))
    assert status == 500
    assert says in answer["error"]


def test_a_database_without_the_schema_is_named(empty_dsn, conn, isolate):
    function, secret = isolate(at=empty_dsn)
    status, answer = function.post(signed(secret, new_wake(conn)))
    assert status == 500
    assert "qctl upgrade" in answer["error"]
