"""The guard: which addresses a request may go to."""

import pytest

from qctl.ssrf import networks, refusal

INSIDE = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254",
    "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.170", "192.0.2.1", "192.88.99.1",
    "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "::ffff:0:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1",
    "2002:7f00:1::", "2002:a00:1::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fd12:3456::1", "fe80::1",
    "fe80::1%eth0", "fec0::1", "ff02::1",
]  # fmt: skip
OUTSIDE = [
    "1.1.1.1", "8.8.8.8", "93.184.216.34", "100.63.255.255", "172.32.0.1", "2606:4700:4700::1111", "2a00:1450:4001::1",
    "64:ff9b::808:808",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_refused(address):
    assert refusal(address, ()) == f"{address} is not a public address"


@pytest.mark.parametrize("address", OUTSIDE)
def test_allowed(address):
    assert refusal(address, ()) is None


@pytest.mark.parametrize("address", INSIDE)
def test_everything_can_be_allowed(address):
    assert refusal(address, networks(["0.0.0.0/0", "::/0"])) is None


def test_a_network_allows_what_is_in_it_however_it_is_written_and_no_more():
    allowed = networks(["10.1.0.0/16", "fd00::/64"])
    assert refusal("10.1.2.3", allowed) is None
    assert refusal("::ffff:10.1.2.3", allowed) is None
    assert refusal("64:ff9b::a01:203", allowed) is None
    assert refusal("fd00::7", allowed) is None
    assert refusal("10.2.0.1", allowed)
    assert refusal("127.0.0.1", allowed)
    assert refusal("fd00:0:0:1::7", allowed)
