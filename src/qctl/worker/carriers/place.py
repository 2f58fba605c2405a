"""The parts of a broker's URL."""

import re
from typing import NamedTuple
from urllib.parse import parse_qs, unquote

_URL = re.compile(r"([A-Za-z+]+)://([^/?#]*)([^?#]*)(?:\?(.*))?", re.DOTALL)
_HOST = re.compile(r"(\[[^\]]+\]|[^:]+)(?::(\d+))?")


class Place(NamedTuple):
    """A URL taken apart. Names of hosts are in lower case and without brackets; several are separated by commas in the URL."""

    scheme: str
    hosts: list[tuple[str, int | None]]
    path: str
    query: dict[str, str]

    @property
    def host(self) -> str:
        """The first host."""
        return self.hosts[0][0]

    def port(self, usual: int) -> int:
        """The port of the first host."""
        return self.hosts[0][1] or usual


def of(url: str) -> Place:
    """Takes a URL apart that ``qctl._check_broker_url`` has accepted.

    Raises:
        ValueError: it is none.
    """
    parts = _URL.fullmatch(url)
    hosts = [_HOST.fullmatch(host) for host in parts[2].split(",")] if parts else []
    if parts is None or not all(hosts):
        raise ValueError(f"{url} is not the URL of a broker")
    found = [(host[1].strip("[]").lower(), int(host[2]) if host[2] else None) for host in hosts if host]
    query = {name: values[0] for name, values in parse_qs(parts[4] or "", keep_blank_values=True).items()}
    return Place(parts[1].lower(), found, unquote(parts[3]).removeprefix("/"), query)


def written(host: str, port: int | None = None) -> str:
    """A host, and its port, as they stand in a URL."""
    name = f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"
