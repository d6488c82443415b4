"""A URI out of the settings, in; the key-encrypting key that it names, out.

The kind before the first colon decides which module reads the rest. Nothing is asked of a service
here: that happens when a key is wrapped or unwrapped, so that a service which is down costs the
slots that need it and no others. Refused: every other kind, without repeating what was given,
which may be a key in the wrong place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from security.errors import KekError
from security.keks.awskms import open_awskms_kek
from security.keks.gcpkms import open_gcpkms_kek
from security.keks.local import open_descriptor_kek, open_file_kek, open_variable_kek
from security.keks.passphrase import open_passphrase_kek
from security.keks.pkcs11 import open_pkcs11_kek
from security.keks.vault import open_vault_kek
from security.slots import Kek


@dataclass(frozen=True, slots=True)
class KekKind:
    """One kind of key-encrypting key."""

    kind: str
    form: str
    """How its URI is written."""
    help: str
    """One line, for the command line's help."""
    open: Callable[[str], Kek]
    """Takes what follows the first colon."""


KINDS: Final = (
    KekKind("file", "file:PATH", "a key file of this account", open_file_kek),
    KekKind("env", "env:NAME", "a key in an environment variable", open_variable_kek),
    KekKind("fd", "fd:N", "a key in an inherited file descriptor", open_descriptor_kek),
    KekKind(
        "passphrase",
        "passphrase:[file=PATH|env=NAME|fd=N]",
        "a passphrase, asked for if it lies nowhere",
        open_passphrase_kek,
    ),
    KekKind("vault", "vault:MOUNT/KEY", "a key in the transit engine of Vault", open_vault_kek),
    KekKind(
        "pkcs11",
        "pkcs11:token=T;object=O?module-path=/PATH[&pin-source=file:/PATH]",
        "a key in a hardware token or HSM",
        open_pkcs11_kek,
    ),
    KekKind("awskms", "awskms:KEY-ID-OR-ARN", "a key in AWS KMS", open_awskms_kek),
    KekKind(
        "gcpkms",
        "gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K",
        "a key in Google Cloud KMS",
        open_gcpkms_kek,
    ),
)


def open_kek(uri: str) -> Kek:
    """The key that `uri` names. Raises KekError, or KeyFileError if it lies in a file."""
    name, colon, rest = uri.partition(":")
    for known in KINDS:
        if colon and name == known.kind:
            return known.open(rest)
    raise KekError("a key-encrypting key is one of " + ", ".join(known.form for known in KINDS))
