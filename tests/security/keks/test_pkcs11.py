"""A token of SoftHSM, made for each run; pack keys wrapped inside it, or refusals, out."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pkcs11
import pytest

from security.errors import KekError
from security.keks.pkcs11 import PIN_VARIABLE, KeyPlace, _decrypted, open_pkcs11_kek
from security.secret import SecretBytes

LABEL = "safe"
PIN = "9071-2236"
CONTEXT = b"earwitness-pack/1|slot|" + bytes(32)
PLACES = ("lib/softhsm", "lib/x86_64-linux-gnu/softhsm", "lib/aarch64-linux-gnu/softhsm")
MODULES = [Path(sys.base_prefix).anchor + f"usr/{place}/libsofthsm2.so" for place in PLACES]
MODULE = next(filter(os.path.exists, MODULES), MODULES[0])
TOOL = shutil.which("softhsm2-util")

pytestmark = pytest.mark.skipif(TOOL is None, reason="needs SoftHSM: apt install softhsm2")


@pytest.fixture(scope="module")
def _token(tmp_path_factory):
    """A token `safe` with AES keys `kek` and `other`, one that may not encrypt, and a twin pair."""
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(config)
    subprocess.run(  # noqa: S603 (a fixed tool)
        [TOOL, "--init-token", "--free", "--label", LABEL, "--so-pin", "so-90712", "--pin", PIN],
        check=True,
        capture_output=True,
    )
    with pkcs11.lib(MODULE).get_token(token_label=LABEL).open(rw=True, user_pin=PIN) as session:
        for label in ("kek", "other", "twin", "twin"):
            session.generate_key(pkcs11.KeyType.AES, 256, label=label, store=True)
        wrap_only = pkcs11.MechanismFlag.WRAP
        session.generate_key(
            pkcs11.KeyType.AES, 256, label="idle", store=True, capabilities=wrap_only
        )
    yield
    del os.environ["SOFTHSM2_CONF"]


@pytest.fixture
def safe(_token, monkeypatch):
    monkeypatch.setenv(PIN_VARIABLE, PIN)


def kek(key="kek", label=LABEL, module=MODULE, query=""):
    return open_pkcs11_kek(f"token={label};object={key}?module-path={module}{query}")


def pack_key():
    return SecretBytes(bytearray(range(32)))


def refusal(key):
    with pytest.raises(KekError) as caught:
        key.wrap(pack_key(), CONTEXT)
    assert PIN not in repr(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return str(caught.value)


@pytest.mark.usefixtures("safe")
def test_a_wrapped_key_comes_back():
    wrapped = kek().wrap(pack_key(), CONTEXT)
    assert kek().unwrap(wrapped, CONTEXT) == pack_key()


@pytest.mark.usefixtures("safe")
def test_a_key_wrapped_for_another_pack_does_not_come_back():
    wrapped = kek().wrap(pack_key(), CONTEXT)
    assert kek().unwrap(wrapped, CONTEXT + b"!") is None


@pytest.mark.usefixtures("safe")
def test_another_key_of_the_same_token_does_not_unwrap():
    wrapped = kek("other").wrap(pack_key(), CONTEXT)
    assert kek().unwrap(wrapped, CONTEXT) is None


@pytest.mark.usefixtures("safe")
@pytest.mark.parametrize("index", [0, 11, 12, 43, 44, 59])
def test_a_damaged_ciphertext_does_not_come_back(index):
    wrapped = bytearray(kek().wrap(pack_key(), CONTEXT))
    wrapped[index] ^= 1
    assert kek().unwrap(bytes(wrapped), CONTEXT) is None


def test_a_ciphertext_of_another_length_does_not_reach_the_token():
    assert kek(module="/nowhere.so").unwrap(bytes(59), CONTEXT) is None


@pytest.mark.usefixtures("safe")
def test_the_pin_may_lie_in_a_file(monkeypatch, tmp_path):
    monkeypatch.delenv(PIN_VARIABLE)
    path = tmp_path / "pin"
    path.write_text(PIN + "\n")
    path.chmod(0o600)
    wrapped = kek(query=f"&pin-source=file:{path}").wrap(pack_key(), CONTEXT)
    assert kek(query=f"&pin-source={path}").unwrap(wrapped, CONTEXT) == pack_key()


@pytest.mark.usefixtures("safe")
def test_a_pin_file_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "pin"
    path.write_text(PIN + "\n")
    path.chmod(0o644)
    assert "chmod 600" in refusal(kek(query=f"&pin-source=file:{path}"))


@pytest.mark.usefixtures("safe")
def test_without_a_pin_its_variable_is_named(monkeypatch):
    monkeypatch.delenv(PIN_VARIABLE)
    assert f"{PIN_VARIABLE} is not set" in refusal(kek())


@pytest.mark.usefixtures("safe")
def test_a_wrong_pin_is_told(monkeypatch):
    monkeypatch.setenv(PIN_VARIABLE, PIN + "!")
    assert "refuses the PIN" in refusal(kek())


@pytest.mark.usefixtures("safe")
@pytest.mark.parametrize(
    ("key", "hint"),
    [
        (kek(label="elsewhere"), "no token of this label"),
        (kek("nothing"), "not exactly one AES key"),
        (kek("twin"), "not exactly one AES key"),
        (kek("idle"), "cannot do AES-GCM"),
        (kek(module="/nowhere.so"), "check module-path"),
    ],
)
def test_a_token_that_cannot_wrap_says_what_to_do(key, hint):
    assert hint in refusal(key)


@pytest.mark.usefixtures("safe")
def test_a_key_that_may_not_decrypt_is_told_from_a_wrong_ciphertext():
    with pytest.raises(KekError, match="cannot do AES-GCM"):
        kek("idle").unwrap(bytes(60), CONTEXT)


class OtherModule(pkcs11.DecryptMixin):
    """A key in a module that tells a wrong tag from a fault, as the standard asks."""

    def decrypt(self, *_, **__):
        raise pkcs11.EncryptedDataInvalid


def test_a_module_that_names_a_wrong_tag_is_believed():
    assert _decrypted(OtherModule(), bytes(48), bytes(12), CONTEXT) is None


def test_without_the_library_its_install_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    assert "pip install 'earwitness[pkcs11]'" in refusal(kek())


def test_a_kek_names_token_and_key_and_nothing_else():
    named = kek(label="my%20token", key="k%C3%A9k", query="&pin-source=/secret/pin")
    assert named.kek_id == "pkcs11:token=my%20token;object=k%C3%A9k"
    assert repr(named) == f"Pkcs11Kek({named.kek_id!r})"


def test_a_place_is_read_as_rfc_7512_says():
    rest = "type=secret-key;object=b%3Bc;token=a?pin-source=file:/p%20q&module-path=/m.so"
    assert open_pkcs11_kek(rest)._place == KeyPlace("a", "b;c", "/m.so", "/p q")


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "token=a",
        "object=b?module-path=/m.so",
        "token=a;object=b",
        "token=a;object=b?module-path=m.so",
        "token=a;token=a;object=b?module-path=/m.so",
        "token=a;object=b;type=private?module-path=/m.so",
        "token=a;object=b;serial=1?module-path=/m.so",
        "token=a;object=?module-path=/m.so",
        "token=a;object=%zz?module-path=/m.so",
        "token=a;object=%00?module-path=/m.so",
        "token=a;object=b?module-path=/m.so&pin-value=1234",
        "token=a;object=b?module-path=/m.so&pin-source=|cat",
        "token=a;object=b?module-path=/m.so&pin-source=file:pin",
    ],
)
def test_a_place_that_is_not_plain_is_refused_and_not_repeated(rest):
    with pytest.raises(KekError, match="a key in a token is") as caught:
        open_pkcs11_kek(rest)
    assert "1234" not in str(caught.value)


def test_labels_too_long_for_a_slot_are_refused():
    with pytest.raises(KekError, match="too long"):
        kek("k" * 300)
