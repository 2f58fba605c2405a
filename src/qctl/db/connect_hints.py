"""What to type when a host refuses a connection and its own message says too little: Supabase's addresses and poolers, libpq."""

import re

_DIRECT = re.compile(r"db\.([a-z0-9]{16,24})\.supabase\.co", re.ASCII)
_POOLER = re.compile(r"[a-z0-9-]+\.pooler\.supabase\.com", re.ASCII)
_UNREACHED = (
    "network is unreachable", "no route to host", "could not translate host name", "name or service not known",
    "failed to resolve host", "no address associated with hostname", "cannot assign requested address", "timeout expired",
    "connection timeout",
)  # fmt: skip
_CONNECT = "the dashboard's Connect shows the line, with your region"


def hint(host: str, port: str, user: str, message: str) -> str | None:
    """What to use instead, if it is known.

    Args:
        host: as it was given, or empty.
        port: as it was given, or empty.
        user: as it was given, or empty.
        message: what libpq or the server said.
    """
    said = message.lower()
    if (direct := _DIRECT.fullmatch(host)) and any(word in said for word in _UNREACHED):
        pooled = f"postgresql://postgres.{direct[1]}@aws-0-REGION.pooler.supabase.com:5432/postgres"
        return f"{host} has only an IPv6 address, which this network cannot reach; over IPv4 use {pooled} ({_CONNECT})"
    if "tenant or user not found" in said or (_POOLER.fullmatch(host) and "no tenant" in said):
        named = "is right only in the project's own region" if "." in user else "lacks the project: postgres.PROJECT"
        return f"on Supabase's pooler user {user or 'postgres'} {named}; {_CONNECT}"
    if _POOLER.fullmatch(host) and "password authentication failed" in said and "." not in user:
        return f"on Supabase's pooler the user is postgres.PROJECT, not {user or 'postgres'}; {_CONNECT}"
    if (
        "max client" in said
        or "maxclients" in said
        or "too many clients" in said
        or "remaining connection slots" in said
    ):
        more = (
            "; Supabase's transaction pooler, port 6543, has more room"
            if _POOLER.fullmatch(host) and port != "6543"
            else ""
        )
        return f"every connection is in use: close some, or try again{more}"
    if "no password supplied" in said:
        line = f"{host or '*'}:{port or '*'}:*:{user or '*'}:PASSWORD"
        return f"put the password into ~/.pgpass: {line}, chmod 600; or into PGPASSWORD"
    if "session is read-only" in said:
        return "connect to the primary: a worker cannot use a standby or a read-only server"
    if "connection is insecure" in said or "ssl connection is required" in said or "no encryption" in said:
        return "the server requires TLS: add sslmode=require to the connection string"
    return None
