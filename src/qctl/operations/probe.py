"""Probing an endpoint without delivering anything to it."""

import re
import shlex
from urllib.parse import urlsplit

import pycurl

from qctl import ssrf
from qctl.models import Diagnosis, Queue

_TIMEOUT_MS = 10_000
_URL = re.compile(r"https?://[A-Za-z0-9._~:/?#\[\]@!&*+,;=%-]{1,2000}", re.ASCII)


def endpoint(queue: Queue) -> list[Diagnosis]:
    """Asks with HEAD whether an endpoint is reached, by TLS that can be trusted, and does not redirect; of a broker nothing.

    A webhook may well answer HEAD with 404 or 405; only what a POST would run into, too, is a finding. Where a worker process
    would send nothing, because of the address, nothing is sent here.
    """
    if queue.is_handed_over:
        return []
    name, url, allowed = queue.queue_name, queue.url, ssrf.networks(queue.allow_networks)
    refused: list[str] = []

    def refuses(address: str) -> bool:
        why = ssrf.refusal(address, allowed)
        if why is not None:
            refused.append(why)
        return why is not None

    curl = pycurl.Curl()
    if queue.transport == "http":
        curl.setopt(pycurl.OPENSOCKETFUNCTION, ssrf.opener(refuses))
    curl.setopt(pycurl.URL, url)
    curl.setopt(pycurl.NOBODY, True)
    curl.setopt(pycurl.NOSIGNAL, True)
    curl.setopt(pycurl.NOPROXY, "*")
    curl.setopt(pycurl.TIMEOUT_MS, _TIMEOUT_MS)
    curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
    curl.setopt(pycurl.USERAGENT, "qctl-doctor")
    curl.setopt(pycurl.WRITEFUNCTION, len)
    try:
        curl.perform()
        status, to = curl.getinfo(pycurl.RESPONSE_CODE), curl.getinfo(pycurl.REDIRECT_URL)
    except pycurl.error as error:
        if refused:
            what = f"{refused[-1]}: qctl worker does not send there unless it runs with --allow-private or --proxy"
            return [Diagnosis("warning", "endpoint", name, what, f"qctl set -q {name} --allow-private")]
        parts = urlsplit(url)
        what = f"{parts.scheme}://{parts.hostname}: {error.args[-1]}"
        return [Diagnosis("broken", "endpoint", name, what, f"curl -I {shlex.quote(url)}")]
    finally:
        curl.close()
    if 300 <= status < 400:
        # What an endpoint sends is not put into a command unless it is a URL and nothing else.
        plain = to if to and _URL.fullmatch(to) else None
        what = (
            f"it answers HTTP {status} and redirects {f'to {plain}' if plain else 'elsewhere'}; redirects are failures"
        )
        fix = f"qctl set -q {name} --url {shlex.quote(plain)}" if plain else f"curl -I {shlex.quote(url)}"
        return [Diagnosis("broken", "endpoint", name, what, fix)]
    return []
