"""Reasons in; texts that do not change with them out."""

import pytest

from security.errors import (
    AuditError,
    KeyFileError,
    PackError,
    PackReason,
    RevocationError,
    SealError,
    SecurityError,
    TokenError,
    TokenKeyError,
    TokenReason,
    UnknownKeyError,
)

LEAVES = [
    *(KeyFileError, PackError, SealError, TokenError, AuditError),
    *(RevocationError, TokenKeyError, UnknownKeyError),
]


@pytest.mark.parametrize("leaf", LEAVES)
def test_every_error_is_of_the_one_tree(leaf):
    assert issubclass(leaf, SecurityError)


def test_every_reason_for_a_closed_pack_reads_the_same():
    assert len({str(PackError(reason)) for reason in PackReason}) == 1


def test_every_reason_for_a_refused_token_reads_the_same():
    texts = {str(TokenError(reason)) for reason in TokenReason}
    assert texts == {str(UnknownKeyError("https://issuer.test"))}


def test_the_reason_is_kept_for_the_trail():
    assert TokenError(TokenReason.EXPIRED).reason == "expired"
    assert PackError(PackReason.BAD_SEGMENT).reason == "bad_segment"
