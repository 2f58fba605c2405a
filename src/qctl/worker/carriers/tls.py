"""TLS towards a broker: by the authorities of the options, or those of certifi."""

import ssl

import certifi

from qctl.worker.carriers.broker import HandoverError


def context(options: dict[str, str]) -> ssl.SSLContext:
    """What verifies the broker, and presents a client certificate where one is named.

    Raises:
        HandoverError: a file cannot be read or is no certificate.
    """
    try:
        made = ssl.create_default_context(cafile=options.get("ca") or certifi.where())
        if "cert" in options:
            made.load_cert_chain(options["cert"], options.get("key"))
    except OSError as error:
        raise HandoverError(HandoverError.DENIED, f"a certificate of the options cannot be used: {error}") from None
    return made
