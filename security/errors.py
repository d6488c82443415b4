"""Everything that can go wrong in this package, as one tree.

    SecurityError
    ├── KeyFileError   a key file is missing, malformed or open to others: says what to do
    ├── KekError       whatever keeps a key-encrypting key cannot be asked: says what to do
    ├── PackError      a model pack will not open: constant text, exact `reason` for the trail
    ├── SealError      a model pack cannot be made: says why, to the operator who asked for it
    ├── TokenError     a token is not accepted: constant text, exact `reason` for the trail
    │   └── UnknownKeyError   it names a key that its issuer is not known to have, yet
    ├── TokenKeyError  a key, or a set of keys, that no token may be verified with: says why
    ├── AnswerError    somebody else's server does not answer as it should: constant text
    ├── ProviderError  a provider of identities does not say who somebody is: exact `reason`
    ├── RevocationError       the list of what was revoked cannot be read or written
    └── AuditError     the audit trail cannot be opened, read or written: says what to do

A pack under the wrong key and a pack with one bit turned look the same from outside, and so do a
token past its time and a forged one: whoever tries must not learn how close the try was. Reasons
are constants, never input.
"""

from enum import StrEnum


class SecurityError(Exception):
    """Any refusal of this package."""


class KeyFileError(SecurityError):
    """A key file that cannot be used. The text names it and the way out, never its content."""


class KekError(SecurityError):
    """A key-encrypting key that cannot be used now. The text names it and the way out."""


class PackReason(StrEnum):
    """Why a pack did not open."""

    UNREADABLE = "unreadable"
    MISSING_FILE = "missing_file"
    EXTRA_FILE = "extra_file"
    WRONG_SIZE = "wrong_size"
    BAD_SIGNATURE = "bad_signature"
    """No signature, one that does not fit, or one of a publisher who is not trusted."""
    BAD_MANIFEST = "bad_manifest"
    OTHER_MODEL = "other_model"
    """Whole and signed, but not the model that was asked for."""
    OLDER_VERSION = "older_version"
    """A newer one of the same model was accepted before."""
    BAD_SLOTS = "bad_slots"
    NO_SLOT = "no_slot"
    """No key at hand opens any slot."""
    BAD_SEGMENT = "bad_segment"


class PackError(SecurityError):
    """A pack that does not open, whatever the cause."""

    TEXT = (
        "The model pack cannot be opened: no key at hand fits, or it is not what a trusted "
        "publisher sealed, whole and current. The audit trail has the reason."
    )

    def __init__(self, reason: PackReason) -> None:
        super().__init__(self.TEXT)
        self.reason = reason


class SealError(SecurityError):
    """A pack that cannot be made from what was given."""


class TokenReason(StrEnum):
    """Why a token was not accepted."""

    TOO_LONG = "too_long"
    MALFORMED = "malformed"
    WRONG_ALGORITHM = "wrong_algorithm"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_KEY = "unknown_key"
    KEYS_UNREACHABLE = "keys_unreachable"
    """An unknown key, while its issuer's keys cannot be fetched: it may well be one of them."""
    BAD_SIGNATURE = "bad_signature"
    BAD_CLAIMS = "bad_claims"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    TOO_OLD = "too_old"
    """Issued too long ago, though not expired."""
    LIFETIME_TOO_LONG = "lifetime_too_long"
    WRONG_NONCE = "wrong_nonce"
    """An ID token that was made for another sign-in."""
    CLAIM_MISSING = "claim_missing"
    """An ID token of somebody who is not among those that the settings let in."""


class TokenError(SecurityError):
    """A token that is not accepted, whatever the cause."""

    TEXT = "The token is not accepted."

    def __init__(self, reason: TokenReason) -> None:
        super().__init__(self.TEXT)
        self.reason = reason


class UnknownKeyError(TokenError):
    """Its issuer may have published the key since: worth one look, and one more try."""

    def __init__(self, issuer: str) -> None:
        """`issuer`: as the settings name it, not the token."""
        super().__init__(TokenReason.UNKNOWN_KEY)
        self.issuer = issuer


class TokenKeyError(SecurityError):
    """A key that cannot verify tokens. The text is constant and holds nothing of the key."""


class AnswerError(SecurityError):
    """Somebody else's server did not answer as it should. The text is constant."""

    def __init__(self, text: str, *, is_answered: bool = True) -> None:
        """`is_answered`: whether it has said no, rather than nothing or that it has failed."""
        super().__init__(text)
        self.is_answered = is_answered


class ProviderReason(StrEnum):
    """Why a provider of identities could not say who somebody is."""

    UNREACHABLE = "unreachable"
    BAD_METADATA = "bad_metadata"
    """What it says of itself is not what the settings say, or cannot be worked with."""
    REFUSED = "refused"
    """It does not take the code, or us."""
    BAD_ANSWER = "bad_answer"


class ProviderError(SecurityError):
    """A provider of identities that did not help; holds nothing that it said."""

    def __init__(self, reason: ProviderReason) -> None:
        super().__init__("The provider of identities did not say who it is.")
        self.reason = reason


class RevocationError(SecurityError):
    """The revoked cannot be told from the rest. The text says what to do and names no one."""


class AuditError(SecurityError):
    """The trail cannot be kept or read. The text says what to do and holds no event."""
