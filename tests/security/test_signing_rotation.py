"""A signing key, rotated whole or killed at every step, in; a server that refuses nobody out."""

import contextlib
import fcntl
import os
import sys

import pytest

from security.errors import KeyFileError, TokenError
from security.key_files import local_keys, read_retired
from security.keys import create_signing_key, open_signing_key
from security.signing_rotation import rotate_signing_key
from security.token_keys import TokenKey, encode_jwks
from security.tokens import TokenPolicy, TokenVerifier, mint_token
from tests.security.forge import ED_KEY, NOW_S

POLICY = TokenPolicy("earwitness", "earwitness")
DAY_S = 86_400


@pytest.fixture
def path(tmp_path):
    create_signing_key(tmp_path / "signing.pem")
    return tmp_path / "signing.pem"


def retired_path(path):
    return path.with_name("retired-signing.jwks")


def server(path):
    """One that was started before and runs."""
    public = path.with_name(path.name + ".pub")
    return TokenVerifier([(POLICY, local_keys(public, retired_path(path)))])


def minted(path, wall_s=NOW_S):
    key = open_signing_key(path)
    return mint_token(key, POLICY, subject="a", scopes=set(), lifetime_s=3600, wall_s=wall_s)


def rotated(path, overlap_s=DAY_S, wall_s=NOW_S):
    return rotate_signing_key(path, retired_path(path), overlap_s, wall_s)


def test_tokens_of_both_keys_pass_through_the_overlap_and_the_former_ones_no_longer(path):
    running, before = server(path), minted(path)
    former, new = rotated(path, overlap_s=600)
    after = minted(path)
    assert running.verify(before, NOW_S + 599).key_id == former
    assert running.verify(after, NOW_S + 599).key_id == new
    with pytest.raises(TokenError):
        running.verify(before, NOW_S + 600)
    assert running.verify(after, NOW_S + 600).key_id == new
    assert len({former, new}) == 2


def test_without_an_overlap_the_former_key_ends_at_once(path):
    running, before = server(path), minted(path)
    rotated(path, overlap_s=0)
    with pytest.raises(TokenError):
        running.verify(before, NOW_S)


def test_the_keys_are_where_they_were_and_as_closed(path):
    rotated(path)
    assert path.stat().st_mode & 0o777 == 0o600
    names = {entry.name for entry in path.parent.iterdir()}
    assert names == {"signing.pem", "signing.pem.pub", "retired-signing.jwks"}


def test_several_rotations_keep_every_key_until_its_own_end(path):
    running = server(path)
    tokens = []
    for _ in range(3):
        tokens.append(minted(path))
        rotated(path)
    tokens.append(minted(path))
    assert len({running.verify(token, NOW_S).key_id for token in tokens}) == 4
    rotated(path, wall_s=NOW_S + DAY_S)
    assert len(read_retired(retired_path(path)).keys) == 1


class Killed(BaseException):
    """Stands for a kill: nothing in the code catches it."""


def before_each_change(do):
    """A trace of Python's own audit events that acts before a file is made, moved or removed."""

    def hook(event, arguments):
        if event in {"os.rename", "os.remove"} or (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
        ):
            do()

    return hook


HOOKS = []
sys.addaudithook(lambda event, arguments: [hook(event, arguments) for hook in HOOKS])


@pytest.fixture
def hooks():
    yield HOOKS
    HOOKS.clear()


def test_whoever_signs_and_whoever_verifies_in_between_is_not_in_the_way(path, hooks):
    running, tokens = server(path), [minted(path)]

    def sign_and_verify_all():
        tokens.append(minted(path))
        assert {running.verify(token, NOW_S).subject for token in tokens} == {"a"}

    hooks.append(before_each_change(sign_and_verify_all))
    rotated(path)
    hooks.clear()
    sign_and_verify_all()
    assert len(tokens) >= 8


@pytest.mark.parametrize("n_steps", range(15))
def test_killed_at_any_step_it_leaves_keys_that_work_and_can_be_called_again(path, hooks, n_steps):
    running, before, left = server(path), minted(path), iter(range(n_steps))

    def kill_at_last():
        if next(left, None) is None:
            raise Killed

    hooks.append(before_each_change(kill_at_last))
    with contextlib.suppress(Killed):
        rotated(path)
    hooks.clear()
    between = minted(path)
    _, new = rotated(path)
    tokens = [before, between, minted(path)]
    assert [running.verify(token, NOW_S).key_id for token in tokens][-1] == new


def test_a_public_half_left_alone_by_a_killed_one_is_no_obstacle(path):
    path.with_name("signing.pem.next.pub").write_text("half made")
    rotated(path)
    assert server(path).verify(minted(path), NOW_S)


def test_two_do_not_rotate_at_once(path):
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with pytest.raises(KeyFileError, match="being rotated"):
            rotated(path)
    finally:
        os.close(folder)


def test_more_than_can_be_read_again_are_not_retired(path):
    keys = [TokenKey(f"k-{n}", "EdDSA", ED_KEY.public_key(), NOW_S + 1) for n in range(100)]
    retired_path(path).write_bytes(encode_jwks(keys))
    with pytest.raises(KeyFileError, match="full"):
        rotated(path)
    assert server(path).verify(minted(path), NOW_S)


def test_without_a_signing_key_nothing_is_made(tmp_path):
    with pytest.raises(KeyFileError, match="cannot be opened"):
        rotated(tmp_path / "signing.pem")
    assert list(tmp_path.iterdir()) == []
