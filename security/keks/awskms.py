"""A key in AWS KMS, in; pack keys that KMS wraps and unwraps, out.

The key never leaves KMS; the pack key passes through it. The context is KMS's own encryption
context, in hex, since KMS writes it into CloudTrail: it is a hash of public data, and there an
auditor sees which pack was opened when. On decryption the key is named too, although the
ciphertext says which it is: else whoever writes a slot could choose the key. Credentials and region
come from where boto3 looks for them. A call is tried twice, within five seconds.
"""

import logging
import re
from collections.abc import Mapping
from typing import Final

from typing_extensions import override

from security.errors import KekError
from security.keks.box import own_pack_key
from security.secret import SecretBytes

CONNECT_TIMEOUT_S: Final = 2.0
READ_TIMEOUT_S: Final = 2.0
CONTEXT_NAME: Final = "earwitness-pack"
_PLACE = re.compile(
    r"(?:arn:aws[a-z-]{0,16}:kms:(?P<region>[a-z0-9-]{1,32}):[0-9]{12}:)?"
    r"(?:key/|alias/)?[A-Za-z0-9/_-]{1,128}",
    re.ASCII,
)
_NOT_THIS_KEY = {"InvalidCiphertextException", "IncorrectKeyException"}
_REFUSALS: Final[Mapping[str, str]] = {
    "NotFoundException": "has no such key: check its ARN and the region",
    "DisabledException": "has disabled the key: enable it again",
    "KMSInvalidStateException": "holds the key in a state in which it does nothing: see its page",
    "AccessDeniedException": "refuses these credentials: allow kms:Encrypt and kms:Decrypt",
    "InvalidKeyUsageException": "has this key for signing: make a symmetric encryption key",
}


class AwsKmsKek:
    """Wraps by asking AWS KMS."""

    __slots__ = ("_key", "_region")

    def __init__(self, key: str, region: str | None) -> None:
        """`region` is None where boto3 is to find it."""
        self._key = key
        self._region = region

    @property
    def kek_id(self) -> str:
        """`awskms:` and the key as the operator named it."""
        return f"awskms:{self._key}"

    def wrap(self, pack_key: SecretBytes, context: bytes) -> bytes:
        """The pack key under the key in KMS."""
        answer = self._ask("encrypt", {"Plaintext": bytes(pack_key.expose())}, context)
        match answer:
            case {"CiphertextBlob": bytes(ciphertext)}:
                return ciphertext
            case _:
                raise KekError("AWS KMS does not answer as expected: check the endpoint")

    def unwrap(self, wrapped: bytes, context: bytes) -> SecretBytes | None:
        """The pack key; None if this key did not wrap it so."""
        answer = self._ask("decrypt", {"CiphertextBlob": wrapped}, context)
        match answer:
            case None:
                return None
            case {"Plaintext": bytes(plain), "KeyId": str(key)} if self._is_named(key):
                return own_pack_key(plain)
            case _:
                return None

    def wipe(self) -> None:
        """Nothing is held between two calls."""

    @override
    def __repr__(self) -> str:
        return f"AwsKmsKek({self.kek_id!r})"

    def _is_named(self, arn: str) -> bool:
        """Whether KMS used our key. What an alias stands for, only KMS knows."""
        return "alias/" in self._key or f"/{arn}".endswith("/" + self._key.removeprefix("key/"))

    def _ask(self, verb: str, body: Mapping[str, bytes], context: bytes) -> object:
        """The answer; None if KMS says that the ciphertext is wrong."""
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError:
            raise KekError("AWS KMS needs a library: pip install 'earwitness[awskms]'") from None
        logging.getLogger("botocore").setLevel(logging.INFO)  # at DEBUG it logs pack keys
        config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"total_max_attempts": 2, "mode": "standard"},
        )
        try:
            client = boto3.client("kms", config=config, region_name=self._region)
            call = client.encrypt if verb == "encrypt" else client.decrypt
            return dict(
                call(KeyId=self._key, EncryptionContext={CONTEXT_NAME: context.hex()}, **body)
            )
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _NOT_THIS_KEY:
                return None
            refusal = _REFUSALS.get(code, "refuses: check the credentials and the key's policy")
        except BotoCoreError:
            refusal = "cannot be asked: check region, credentials and network"
        raise KekError(f"AWS KMS {refusal}")  # out here, the library's own error is let go of


def open_awskms_kek(place: str) -> AwsKmsKek:
    """`awskms:KEY-ID-OR-ARN`; an ARN says its region itself."""
    found = _PLACE.fullmatch(place)
    if not found:
        raise KekError("a key in AWS KMS is awskms:KEY-ID, awskms:alias/NAME or awskms:ARN")
    return AwsKmsKek(place, found["region"])
