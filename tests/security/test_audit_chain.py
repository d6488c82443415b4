"""Rows of every kind in; MACs, roots and frontiers, against a naive RFC 6962, out."""

import hashlib
import hmac
import json

from hypothesis import given
from hypothesis import strategies as st

from security.audit_chain import (
    NO_MAC,
    ChainState,
    canonical,
    decode_frontier,
    encode_frontier,
    extend,
    first_key,
    grow,
    leaf_hash,
    mac_of,
    next_key,
    root_of,
)

KEY = bytes(range(32))
COLUMNS = st.lists(
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    min_size=1,
    max_size=13,
)


def naive_root(leaves):
    """As the RFC says it: MTH(D[n]), section 2.1."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def leaves_of(n_leaves):
    return [leaf_hash(str(number).encode()) for number in range(n_leaves)]


def test_the_root_is_that_of_the_rfc_at_every_size():
    leaves = leaves_of(130)
    state = ChainState()
    for size, leaf in enumerate(leaves):
        assert root_of(state.frontier) == naive_root(leaves[:size])
        state = grow(state, [leaf])
    assert (state.size, root_of(state.frontier)) == (130, naive_root(leaves))


def test_known_roots_of_certificate_transparency():
    """The leaves and roots that implementations of RFC 6962 test themselves with."""
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657"]
    inputs.append("606162636465666768696a6b6c6d6e6f")
    leaves = [leaf_hash(bytes.fromhex(text)) for text in inputs]
    assert leaves[0].hex().startswith("6e340b9cffb37a989ca544e6bb780a2c")
    assert root_of(grow(ChainState(), leaves).frontier).hex() == (
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    )
    assert root_of(()).hex() == hashlib.sha256().hexdigest()


@given(st.integers(0, 300), st.integers(0, 300))
def test_growing_at_once_or_in_two_steps_is_the_same(n_first, n_then):
    leaves = leaves_of(n_first + n_then)
    in_two = grow(grow(ChainState(), leaves[:n_first]), leaves[n_first:])
    assert in_two == grow(ChainState(), leaves)
    assert len(in_two.frontier) == in_two.size.bit_count()


@given(st.lists(COLUMNS, max_size=20), st.data())
def test_the_chain_may_be_made_in_any_batches(rows, data):
    texts = [canonical(row) for row in rows]
    cut = data.draw(st.integers(0, len(texts)))
    whole, macs = extend(ChainState(), texts, KEY)
    half, first_macs = extend(ChainState(), texts[:cut], KEY)
    assert extend(half, texts[cut:], KEY) == (whole, macs[cut:])
    assert first_macs == macs[:cut]
    assert whole.mac == (macs[-1] if macs else NO_MAC)


def test_a_mac_binds_the_row_to_all_that_came_before():
    _, [first, second] = extend(ChainState(), [b"a", b"b"], KEY)
    leaf = hashlib.sha256(b"\x00a").digest()
    assert first == hmac.new(KEY, bytes(32) + leaf, "sha256").digest()
    assert second == mac_of(KEY, first, leaf_hash(b"b"))
    assert second not in {mac_of(KEY, NO_MAC, leaf_hash(b"b")), mac_of(bytes(32), first, leaf)}


@given(COLUMNS)
def test_the_canonical_text_is_json_and_tells_rows_apart(columns):
    text = canonical(columns)
    assert json.loads(text) == columns
    assert text == canonical(json.loads(text))


def test_the_canonical_text_is_this():
    assert (
        canonical([1, None, 'é"\n\x00\x7f\\', -5])
        == '[1,null,"é\\"\\n\\u0000\x7f\\\\",-5]'.encode()
    )


def test_keys_go_forward_only_and_are_of_their_trail():
    zero, other = first_key(KEY), first_key(bytes(32))
    assert zero == hmac.new(KEY, b"earwitness audit: first epoch", "sha256").digest()
    assert next_key(zero) == hmac.new(zero, b"earwitness audit: next epoch", "sha256").digest()
    assert len({KEY, zero, other, next_key(zero), next_key(next_key(zero))}) == 5


@given(st.integers(0, 2**40))
def test_a_frontier_is_read_as_it_was_stored(size):
    frontier = tuple(bytes([index]) * 32 for index in range(size.bit_count()))
    stored = encode_frontier(frontier)
    assert decode_frontier(stored, size) == frontier
    assert decode_frontier(stored + b"x", size) is None
    assert decode_frontier(stored + bytes(32), size) is None
