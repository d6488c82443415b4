"""A key in Google Cloud KMS, in; pack keys that KMS wraps and unwraps, out.

The key never leaves KMS; the pack key passes through it. Each field travels with its CRC-32C in
both directions, as Google asks of its callers: a pack key garbled by bad memory on the way in would
be wrapped and never open again. Credentials come from where Google's library looks for them.
EARWITNESS_GCPKMS_ENDPOINT leads to a stand-in without TLS, and is refused unless it is on this
machine.
"""

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from typing_extensions import override

from security.errors import KekError
from security.keks.box import own_pack_key
from security.secret import SecretBytes

if TYPE_CHECKING:
    from google.cloud.kms_v1 import DecryptResponse, KeyManagementServiceClient
    from google.cloud.kms_v1.services.key_management_service.transports import (
        KeyManagementServiceGrpcTransport,
    )

TIMEOUT_S: Final = 4.0
ENDPOINT_VARIABLE: Final = "EARWITNESS_GCPKMS_ENDPOINT"
Answer = TypeVar("Answer")
_NAME = r"[A-Za-z0-9_-]{1,63}"
_PLACE = re.compile(
    rf"projects/[a-z0-9:.-]{{1,64}}/locations/{_NAME}/keyRings/{_NAME}/cryptoKeys/{_NAME}",
    re.ASCII,
)
_LOOPBACK = re.compile(r"(?:127\.0\.0\.1|\[::1\]):[0-9]{1,5}", re.ASCII)
_CASTAGNOLI = 0x82F63B78
_REFUSALS: Final = {
    400: "refuses the request: the key must be enabled, and for symmetric encryption",
    401: "does not know these credentials: gcloud auth application-default login",
    403: "refuses these credentials: grant roles/cloudkms.cryptoKeyEncrypterDecrypter",
    404: "has no such key: check its name",
}
_GARBLED = "Google Cloud KMS and we do not read the same bytes: try again, and suspect the memory"


class GcpKmsKek:
    """Wraps by asking Google Cloud KMS."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        """`name` is the resource name of the key, without a version."""
        self._name = name

    @property
    def kek_id(self) -> str:
        """`gcpkms:` and the resource name."""
        return f"gcpkms:{self._name}"

    def wrap(self, pack_key: SecretBytes, context: bytes) -> bytes:
        """The pack key under the primary version of the key."""
        plain = bytes(pack_key.expose())
        request: dict[str, str | bytes | int] = {
            "name": self._name,
            "plaintext": plain,
            "plaintext_crc32c": crc32c(plain),
            "additional_authenticated_data": context,
            "additional_authenticated_data_crc32c": crc32c(context),
        }
        answer = _ask(lambda client: client.encrypt(request, retry=None, timeout=TIMEOUT_S))
        is_whole = (
            answer.verified_plaintext_crc32c
            and answer.verified_additional_authenticated_data_crc32c
            and answer.name.startswith(self._name + "/")
            and answer.ciphertext_crc32c == crc32c(answer.ciphertext)
        )
        if not is_whole:
            raise KekError(_GARBLED)
        return bytes(answer.ciphertext)

    def unwrap(self, wrapped: bytes, context: bytes) -> SecretBytes | None:
        """The pack key; None if this key did not wrap it so."""
        request: dict[str, str | bytes | int] = {
            "name": self._name,
            "ciphertext": wrapped,
            "ciphertext_crc32c": crc32c(wrapped),
            "additional_authenticated_data": context,
            "additional_authenticated_data_crc32c": crc32c(context),
        }
        answer = _ask(lambda client: _decrypted(client, request))
        if answer is None:
            return None
        if answer.plaintext_crc32c != crc32c(answer.plaintext):
            raise KekError(_GARBLED)
        return own_pack_key(answer.plaintext)

    def wipe(self) -> None:
        """Nothing is held between two calls."""

    @override
    def __repr__(self) -> str:
        return f"GcpKmsKek({self.kek_id!r})"


def open_gcpkms_kek(name: str) -> GcpKmsKek:
    """`gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K`."""
    if not _PLACE.fullmatch(name):
        raise KekError(
            "a key in Google Cloud KMS is gcpkms:projects/P/locations/L/keyRings/R/cryptoKeys/K"
        )
    return GcpKmsKek(name)


def crc32c(data: bytes) -> int:
    """RFC 3720, appendix B.4: CRC-32 with Castagnoli's polynomial, bit-reversed."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CASTAGNOLI if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _decrypted(
    client: "KeyManagementServiceClient", request: dict[str, str | bytes | int]
) -> "DecryptResponse | None":
    """The answer; None if it is that the ciphertext is wrong."""
    from google.api_core.exceptions import InvalidArgument

    try:
        return client.decrypt(request, retry=None, timeout=TIMEOUT_S)
    except InvalidArgument as error:
        if "crc32c" in error.message:
            raise
        return None


def _ask(call: "Callable[[KeyManagementServiceClient], Answer]") -> Answer:
    """What the call brings; what the library raises turns into what to do."""
    try:
        from google.api_core.exceptions import GoogleAPICallError
        from google.auth.exceptions import GoogleAuthError
        from google.cloud.kms_v1 import KeyManagementServiceClient
    except ImportError:
        raise KekError(
            "Google Cloud KMS needs a library: pip install 'earwitness[gcpkms]'"
        ) from None
    endpoint = os.environ.get(ENDPOINT_VARIABLE)
    try:
        transport = _stand_in(endpoint) if endpoint else None
        with KeyManagementServiceClient(transport=transport) as client:
            return call(client)
    except GoogleAPICallError as error:
        refusal = _REFUSALS.get(int(error.code or 0), "cannot be asked now: check the network")
    except GoogleAuthError:
        refusal = _REFUSALS[401]
    raise KekError(f"Google Cloud KMS {refusal}")  # the library's own error is let go of


def _stand_in(endpoint: str) -> "KeyManagementServiceGrpcTransport":
    """A plain channel to `HOST:PORT` on this machine."""
    import grpc
    from google.cloud.kms_v1.services.key_management_service.transports import (
        KeyManagementServiceGrpcTransport,
    )

    if not _LOOPBACK.fullmatch(endpoint):
        raise KekError(f"{ENDPOINT_VARIABLE} must be 127.0.0.1:PORT or [::1]:PORT")
    return KeyManagementServiceGrpcTransport(channel=grpc.insecure_channel(endpoint))
