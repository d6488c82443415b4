"""A peer, and headers that anybody may have written, in; whose request it is out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.forwarded import Networks, decode_address, read_forwarding
from tests.fuzz_targets.forwarded import fuzz_forwarded

PROXY = "10.0.0.1"
TRUSTED = Networks(["10.0.0.0/8", "fd00::/8"])


def client_of(*forwarded_for, peer=PROXY, trusted=TRUSTED):
    return read_forwarding(peer, trusted, forwarded_for, []).client


@pytest.mark.parametrize(
    ("said", "client"),
    [
        pytest.param([], PROXY, id="nothing"),
        pytest.param([""], PROXY, id="empty"),
        pytest.param(["192.0.2.7"], "192.0.2.7", id="one"),
        pytest.param(["192.0.2.7, 198.51.100.9"], "198.51.100.9", id="the right one"),
        pytest.param(["192.0.2.7,198.51.100.9,10.2.3.4"], "198.51.100.9", id="through two"),
        pytest.param(["192.0.2.7", "198.51.100.9"], "198.51.100.9", id="two headers"),
        pytest.param(["198.51.100.9", "10.2.3.4"], "198.51.100.9", id="two headers, two proxies"),
        pytest.param(["10.9.9.9, 10.2.3.4"], "10.9.9.9", id="proxies only"),
        pytest.param([" \t192.0.2.7\t "], "192.0.2.7", id="blanks"),
        pytest.param(["192.0.2.7:1234"], "192.0.2.7", id="with a port"),
        pytest.param(["[2001:db8::1]:1234"], "2001:db8::1", id="IPv6 with a port"),
        pytest.param(["[2001:db8::1]"], "2001:db8::1", id="IPv6 in brackets"),
        pytest.param(["2001:DB8:0::1"], "2001:db8::1", id="IPv6 in another spelling"),
        pytest.param(["::ffff:192.0.2.7"], "192.0.2.7", id="IPv4 as IPv6"),
        pytest.param(["192.0.2.7, ::ffff:10.2.3.4"], "192.0.2.7", id="a proxy as IPv6"),
        pytest.param(["192.0.2.7, fd00::5"], "192.0.2.7", id="a proxy with IPv6"),
        pytest.param(["192.0.2.7,"], PROXY, id="nothing at the right"),
        pytest.param(["192.0.2.7, unknown"], PROXY, id="unknown"),
        pytest.param(["192.0.2.7, unknown, 10.2.3.4"], "10.2.3.4", id="unknown behind a proxy"),
        pytest.param(["unix"], PROXY, id="a word of our settings"),
        pytest.param(["192.0.2.7\x00"], PROXY, id="a control character"),
        pytest.param(["<script>"], PROXY, id="markup"),
        pytest.param(["192.0.2.07"], PROXY, id="octal"),
        pytest.param(["192.0.2"], PROXY, id="too short"),
        pytest.param(["3221225991"], PROXY, id="a number"),
        pytest.param(["0xc0.0.2.7"], PROXY, id="hexadecimal"),
        pytest.param(["\u0661\u0669\u0662.0.2.7"], PROXY, id="other digits"),
        pytest.param(["192.0.2.7:http"], PROXY, id="a port by name"),
        pytest.param(["192.0.2.7:"], PROXY, id="a port of nothing"),
        pytest.param(["192.0.2.7:123456"], PROXY, id="a long port"),
        pytest.param(["[192.0.2.7]"], PROXY, id="IPv4 in brackets"),
        pytest.param(["[2001:db8::1"], PROXY, id="half a bracket"),
        pytest.param(["[2001:db8::1]x"], PROXY, id="something after the bracket"),
        pytest.param(["fe80::1%eth0"], PROXY, id="an interface of the stranger's choice"),
        pytest.param(['"192.0.2.7"'], PROXY, id="quotes"),
        pytest.param(["192.0.2.7/32"], PROXY, id="a network"),
        pytest.param(["1" * 10_000], PROXY, id="long"),
    ],
)
def test_the_first_from_the_right_that_is_no_proxy_is_the_client(said, client):
    assert client_of(*said) == client


@pytest.mark.parametrize("peer", ["192.0.2.1", "11.0.0.1", "::1", "fe80::1%eth0", "nonsense", None])
def test_an_untrusted_peer_is_believed_nothing(peer):
    way = read_forwarding(peer, TRUSTED, ["203.0.113.5"], ["https"])
    assert (way.client, way.scheme) == (peer, None)


def test_a_peer_without_an_address_is_trusted_by_the_name_unix():
    assert client_of("192.0.2.7", peer=None, trusted=Networks(["unix"])) == "192.0.2.7"
    assert client_of("192.0.2.7", peer="127.0.0.1", trusted=Networks(["unix"])) == "127.0.0.1"


def test_a_proxy_on_an_interface_of_ours_is_known_by_its_address():
    assert client_of("192.0.2.7", peer="fe80::1%eth0", trusted=Networks(["fe80::/10"])) == (
        "192.0.2.7"
    )


def test_nobody_can_make_the_walk_long():
    assert client_of(",".join(["192.0.2.7"] + ["10.0.0.2"] * 1000)) == "10.0.0.2"


@pytest.mark.parametrize(
    ("said", "scheme"),
    [
        ([], None),
        (["https"], "https"),
        (["HTTP"], "http"),
        (["http", "https"], "https"),
        (["https, http"], "http"),
        (["wss"], None),
        (["javascript"], None),
        ([""], None),
    ],
)
def test_the_nearest_proxy_says_how_it_was_spoken_to(said, scheme):
    assert read_forwarding(PROXY, TRUSTED, [], said).scheme == scheme


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "10.0.0.1/8", "proxy.example", "*", ""])
def test_settings_name_networks_and_nothing_else(entry):
    with pytest.raises(ValueError, match=r"does not appear|host bits"):
        Networks([entry])


@given(st.binary(max_size=300))
def test_whatever_is_said_the_client_is_an_address(data):
    fuzz_forwarded(data)


@given(st.ip_addresses())
def test_an_address_is_read_as_it_is_written(address):
    read = decode_address(str(address))
    assert read in {address, getattr(address, "ipv4_mapped", None)}
