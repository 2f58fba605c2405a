"""A host that refuses in few words is answered with what to use instead."""

import socket
import struct
import threading

import pytest

from processes import qctl
from qctl.db.connect_hints import hint

DIRECT = "db.abcdefghijklmnopqrst.supabase.co"
POOLER = "aws-0-eu-central-1.pooler.supabase.com"


@pytest.mark.parametrize(
    ("host", "user", "message", "said"),
    [
        (DIRECT, "postgres", f'connection to server at "{DIRECT}" (2a05::1), port 5432 failed: Network is unreachable',
         "postgres.abcdefghijklmnopqrst@aws-0-REGION.pooler.supabase.com:5432"),
        (DIRECT, "postgres", f'could not translate host name "{DIRECT}" to address: No address associated with hostname', "IPv6"),
        (DIRECT, "postgres", f"failed to resolve host '{DIRECT}': [Errno -5] No address associated with hostname", "IPv6"),
        (POOLER, "postgres", "FATAL:  Tenant or user not found", "lacks the project"),
        (POOLER, "postgres.abc", "FATAL:  Tenant or user not found", "own region"),
        (POOLER, "postgres", 'FATAL:  password authentication failed for user "postgres"', "postgres.PROJECT"),
        (POOLER, "postgres.abc", "FATAL:  MaxClientsInSessionMode: max clients reached", "6543"),
        ("db.example.com", "me", "fe_sendauth: no password supplied", "~/.pgpass: db.example.com:*:*:me:PASSWORD"),
        ("db.example.com", "me", "FATAL:  connection is insecure (try using `sslmode=require`)", "sslmode=require"),
        ("db.example.com", "me", "connection to server failed: session is read-only", "connect to the primary"),
        ("db.example.com", "me", "FATAL:  sorry, too many clients already", "every connection is in use"),
    ],
)  # fmt: skip
def test_what_is_said(host, user, message, said):
    assert said in (hint(host, "", user, message) or "")


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("db.example.com", "Network is unreachable"),
        (DIRECT, 'FATAL:  password authentication failed for user "postgres"'),
        ("db.abc.supabase.co.example.com", "Network is unreachable"),
        ("", "Connection refused"),
    ],
)
def test_nothing_is_said_of_what_is_not_known(host, message):
    assert hint(host, "", "postgres", message) is None


def test_the_hint_reaches_the_user():
    """A server that answers as Supabase's pooler does for a user that it does not know."""
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        for _ in range(4):
            connection, _ = listener.accept()
            with connection:
                (length,) = struct.unpack("!i", connection.recv(4))
                request = connection.recv(length - 4)
                if struct.unpack("!i", request[:4])[0] in (
                    80877103,
                    80877104,
                ):  # SSL or GSS encryption, which it has not.
                    connection.sendall(b"N")
                    (length,) = struct.unpack("!i", connection.recv(4))
                    connection.recv(length - 4)
                fields = b"SFATAL\0VFATAL\0CXX000\0MTenant or user not found\0\0"
                connection.sendall(b"E" + struct.pack("!i", len(fields) + 4) + fields)

    threading.Thread(target=refuse, daemon=True).start()
    done = qctl("status", "--dsn", f"postgresql://postgres:hunter2@127.0.0.1:{listener.getsockname()[1]}/postgres")
    listener.close()
    assert done.returncode == 3
    assert "Tenant or user not found" in done.stderr
    assert "lacks the project" in done.stderr
    assert "hunter2" not in done.stderr
