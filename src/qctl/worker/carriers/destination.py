"""Where to publish: the options of a queue with their values, and the addresses of its hosts that the queue allows."""

import socket

from qctl import config, ssrf
from qctl.worker.carriers import place
from qctl.worker.carriers.broker import Destination, HandoverError
from qctl.worker.carriers.threads import in_thread
from qctl.worker.request import REFUSED


class RefusedAddressError(Exception):
    """An address that the queue does not allow."""


async def of(
    url: str, options: dict[str, str], allowed: tuple[ssrf.Network, ...] | None, timeout_s: float
) -> Destination:
    """What a connection is made by.

    Raises:
        HandoverError: a host has no address, or the worker lacks an environment variable that an option names.
        RefusedAddressError: the queue allows none of a host's addresses.
    """
    return Destination(url, _from_environment(options), await _addresses(url, allowed), timeout_s)


def _from_environment(options: dict[str, str]) -> dict[str, str]:
    """Options as they are, with the values of ``env:NAME``."""
    found = dict(options)
    for name, value in options.items():
        if value.startswith("env:"):
            variable = value.removeprefix("env:")
            given = config.variable(variable)
            if not given:
                what = f"the worker has no environment variable {variable}, which {name} names"
                raise HandoverError(HandoverError.DENIED, what)
            found[name] = given
    return found


async def _addresses(url: str, allowed: tuple[ssrf.Network, ...] | None) -> dict[str, list[str]]:
    """The addresses of each host that the queue allows."""
    found: dict[str, list[str]] = {}
    for host, port in place.of(url).hosts:
        try:
            infos = await in_thread(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise HandoverError(HandoverError.AWAY, f"{host}: {error.strerror or error}") from None
        addresses = list(dict.fromkeys(str(info[4][0]) for info in infos))
        refusals = {address: None if allowed is None else ssrf.refusal(address, allowed) for address in addresses}
        found[host] = [address for address, why in refusals.items() if why is None]
        if not found[host]:
            raise RefusedAddressError(f"{REFUSED}{next(filter(None, refusals.values()))}")
    return found
