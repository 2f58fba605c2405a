"""How requests leave: certificates, authorities, a proxy."""

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers import create, one, send, states
from processes import qctl
from verifier import verifying


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """A certificate of localhost that is its own authority, and its key."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl here to make a certificate")
    folder = tmp_path_factory.mktemp("certificate")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


@contextmanager
def over_tls(certificate: tuple[Path, Path], *, asks: bool = False) -> Iterator:
    """An endpoint that takes everything, by TLS; ``asks``: only from who shows that certificate, too."""
    with verifying() as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        if asks:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(certificate[0])
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda request, address: None
        server.url = f"https://localhost:{server.server_address[1]}/hook"
        yield server


def deliver(dsn: str, *options: str) -> None:
    done = qctl("worker", "-q", "orders", "--once", *options, dsn=dsn)
    assert done.returncode == 0, done.stderr


def test_a_certificate_that_nobody_vouches_for_is_refused_and_taken_with_its_authority(conn, dsn, certificate):
    with over_tls(certificate) as server:
        create(conn, url=server.url)
        send(conn)
        deliver(dsn)
        assert "certificate" in one(conn, "select error from qctl.attempt").lower()
        assert server.refused == []
        conn.execute("update pgmq.q_orders set vt = clock_timestamp()")
        deliver(dsn, "--ca", str(certificate[0]))
        assert len(server.refused) == 1


def test_a_name_that_the_certificate_does_not_have_is_refused(conn, dsn, certificate):
    with over_tls(certificate) as server:
        create(conn, url=server.url.replace("localhost", "127.0.0.1"))
        send(conn)
        deliver(dsn, "--ca", str(certificate[0]))
        assert server.refused == []


def test_a_client_certificate_is_shown(conn, dsn, certificate):
    cert, key = map(str, certificate)
    with over_tls(certificate, asks=True) as server:
        create(conn, url=server.url)
        send(conn)
        deliver(dsn, "--ca", cert)
        assert server.refused == []
        conn.execute("update pgmq.q_orders set vt = clock_timestamp()")
        deliver(dsn, "--ca", cert, "--cert", cert, "--key", key)
        assert len(server.refused) == 1


def test_a_proxy_takes_the_requests_and_decides_where_they_go(conn, dsn, endpoint):
    """The proxy is on loopback, and the name is none that anybody here could look up."""
    receiver = endpoint()
    create(conn, url="http://inside.example.com/hook", allow_networks=[])
    ids = send(conn, 3)
    deliver(dsn, "--proxy", f"http://127.0.0.1:{receiver.port}")
    assert states(conn, ids) == {"delivered": 3}
    assert len(receiver.accepted()) == 3


@pytest.mark.parametrize(
    "options", [("--proxy", "nonsense"), ("--proxy", "http://u:p@h:1"), ("--ca", "/not/there"), ("--key", "/")]
)
def test_what_is_wrong_is_refused(conn, dsn, options):
    create(conn)
    done = qctl("worker", "-q", "orders", "--once", *options, dsn=dsn)
    assert done.returncode == 2 or options == ("--key", "/")
    assert "Traceback" not in done.stderr
