"""URIs in; a key-encrypting key of the kind they name, or the list of kinds, out."""

import pytest

from security.errors import KekError
from security.keks.local import LocalKek
from security.keks.passphrase import PassphraseKek
from security.keks.uris import KINDS, open_kek
from security.keys import create_key_file


def test_a_key_file_opens(tmp_path):
    create_key_file(tmp_path / "kek.key")
    assert isinstance(open_kek(f"file:{tmp_path}/kek.key"), LocalKek)


def test_a_colon_in_the_rest_belongs_to_the_rest(tmp_path):
    create_key_file(tmp_path / "a:b.key")
    assert isinstance(open_kek(f"file:{tmp_path}/a:b.key"), LocalKek)


def test_a_passphrase_is_not_asked_for_yet():
    assert isinstance(open_kek("passphrase:"), PassphraseKek)


@pytest.mark.parametrize(
    "uri",
    [
        "vault:transit/earwitness",
        "pkcs11:token=safe;object=earwitness?module-path=/lib/module.so",
        "awskms:alias/earwitness",
        "gcpkms:projects/p/locations/eu/keyRings/r/cryptoKeys/k",
    ],
)
def test_a_key_in_a_service_is_not_asked_for_yet(uri):
    assert open_kek(uri).kek_id == uri.partition("?")[0]


@pytest.mark.parametrize("uri", ["", "file", ":", "FILE:x", " file:x", "5a" * 32, "kms:5a5a5a5a"])
def test_another_kind_is_answered_with_the_kinds_and_not_repeated(uri):
    with pytest.raises(KekError) as caught:
        open_kek(uri)
    assert str(caught.value) == "a key-encrypting key is one of " + ", ".join(
        known.form for known in KINDS
    )


def test_every_kind_has_one_line_of_help():
    assert all(known.help and "\n" not in known.help for known in KINDS)
    assert all(known.form.startswith(f"{known.kind}:") for known in KINDS)
