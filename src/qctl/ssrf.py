"""Which addresses a request may go to.

Looked at is the address that the socket connects to, after the name was looked up and before the first packet: no second look-up
can give another one. Names, and the many ways to write an address, do not matter here.
"""

import ipaddress
import socket
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import pycurl

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What is_global of an older Python does not know of: IANA's special-purpose registries, as of 2024.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
        "::/128", "::1/128", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16",
        "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip
_CARRIES_IPV4 = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),  # mapped
    (ipaddress.IPv6Network("::/96"), 0),  # compatible, long gone
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), 0),  # translated
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4
)


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks of their usual form, ``10.0.0.0/8``."""
    return tuple(ipaddress.ip_network(text) for text in texts)


@lru_cache(maxsize=4096)
def refusal(address: str, allowed: tuple[Network, ...]) -> str | None:
    """Why nothing may be sent to an address, or None.

    Args:
        address: numeric, as the socket has it; a zone of an IPv6 address is ignored.
        allowed: networks that may be sent to although they are not public.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    inner = _inner(ip)
    if any(ip in network for network in allowed) or (
        inner is not None and any(inner in network for network in allowed)
    ):
        return None
    if _is_public(ip) and (inner is None or _is_public(inner)):
        return None
    return f"{address} is not a public address"


class _Lent:
    """A socket whose descriptor libcurl copies for itself; closed as soon as it has."""

    def __init__(self, made: socket.socket) -> None:
        self._made = made

    def fileno(self) -> int:
        """The descriptor to copy."""
        return self._made.fileno()

    def __del__(self) -> None:
        self._made.close()


def opener(refuses: Callable[[str], bool]) -> Callable[[int, tuple[int, int, int, tuple[Any, ...]]], Any]:
    """For ``OPENSOCKETFUNCTION`` of pycurl: opens a socket unless ``refuses`` says no to its numeric address."""

    def open_socket(_purpose: int, address: tuple[int, int, int, tuple[Any, ...]]) -> Any:
        family, kind, protocol, place = address
        if family not in (socket.AF_INET, socket.AF_INET6) or refuses(str(place[0])):
            return pycurl.SOCKET_BAD
        return _Lent(socket.socket(family, kind, protocol))

    return open_socket


def _inner(ip: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for."""
    if isinstance(ip, ipaddress.IPv6Address):
        for network, shift in _CARRIES_IPV4:
            if ip in network:
                return ipaddress.IPv4Address(int(ip) >> shift & 0xFFFFFFFF)
    return None


def _is_public(ip: Address) -> bool:
    if _inner(ip) is not None and ip not in _CARRIES_IPV4[1][0]:
        return True
    return ip.is_global and not any(ip in network for network in _NOT_PUBLIC)
