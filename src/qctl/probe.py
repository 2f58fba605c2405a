"""Probing an endpoint without delivering anything to it."""

from urllib.parse import urlsplit

import pycurl

from qctl.models import Diagnosis

_TIMEOUT_MS = 10_000


def endpoint(queue: str, url: str) -> list[Diagnosis]:
    """Asks with HEAD whether an endpoint is reached, by TLS that can be trusted, and does not redirect.

    A webhook may well answer HEAD with 404 or 405; only what a POST would run into, too, is a finding.
    """
    curl = pycurl.Curl()
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
        parts = urlsplit(url)
        what = f"{parts.scheme}://{parts.hostname}: {error.args[-1]}"
        return [Diagnosis("broken", "endpoint", queue, what, f"curl -I '{url}'")]
    finally:
        curl.close()
    if 300 <= status < 400:
        where = to or "elsewhere"
        return [
            Diagnosis(
                "broken",
                "endpoint",
                queue,
                f"it answers HTTP {status} and leads to {where}; redirects are failures",
                f"qctl set -q {queue} --url '{where}'",
            )
        ]
    return []
