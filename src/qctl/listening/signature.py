"""Signatures of Standard Webhooks 1.0, version v1: https://www.standardwebhooks.com"""

import base64
import binascii
import hmac
import secrets
import time
from hashlib import sha256

from qctl.errors import UsageError

TOLERANCE_S = 300


def new_secret() -> str:
    """A secret of 32 random bytes."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """The key that a secret stands for.

    Raises:
        UsageError: it is not whsec_ and base64.
    """
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise UsageError(
            "the secret is not whsec_ and base64", hint="copy it as qctl secret rotate showed it"
        ) from None


def sign(key: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """The value of webhook-signature.

    Args:
        key: from :func:`key_of`.
        webhook_id: the event.
        timestamp: seconds since 1970.
        body: as it is sent.
    """
    digest = hmac.digest(key, f"{webhook_id}.{timestamp}.".encode() + body, sha256)
    return "v1," + base64.b64encode(digest).decode()


def judge(key: bytes, headers: dict[str, str], body: bytes) -> str:
    """What a request's signature is worth: ``verified``, or why it is not.

    Args:
        key: from :func:`key_of`.
        headers: of the request, names in lower case.
        body: as it came.
    """
    webhook_id, stamp, given = (headers.get(f"webhook-{name}") for name in ("id", "timestamp", "signature"))
    if webhook_id is None or stamp is None or given is None:
        return "not signed"
    if not stamp.isascii() or not stamp.isdecimal():
        return "the timestamp is not a number"
    if abs(time.time() - int(stamp[:15])) > TOLERANCE_S:
        return "the timestamp is more than 5 minutes away"
    expected = sign(key, webhook_id, int(stamp), body).encode()
    if any(hmac.compare_digest(expected, one.encode()) for one in given.split(" ")):
        return "verified"
    return "signed with another secret"
