"""A call's audio in, what Genesys' AudioHook sends for it out: see `bench.callers`."""

import base64
import hmac
import json
import secrets
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bench.callers import RATE_HZ, Call, Due


@dataclass(slots=True)
class AudioHook:
    """Genesys' AudioHook: a signed upgrade, interleaved parties, 200 ms a frame; of one call."""

    key: str
    """`X-API-KEY`."""
    secret: bytes = field(repr=False)
    address: str
    """What the vendor was given, which is what it signs, whatever is dialled."""
    n_parties: int = 2
    name: str = "audiohook"
    answer: str | None = '"opened"'
    is_closed_by_server: bool = False
    frame_ms: int = 200
    _ids: tuple[str, str, str] = field(
        default_factory=lambda: (str(uuid.uuid4()), str(uuid.uuid4()), str(uuid.uuid4()))
    )
    """Of the organization, the session and the correlation."""
    _n_sent: int = 0
    _n_heard: int = 0

    def query(self, call: Call) -> str:
        """None."""
        return ""

    def headers(self, call: Call, url: str, wall_s: float) -> dict[str, str]:
        """See `Caller`."""
        named = dict(
            zip(
                (
                    "audiohook-organization-id",
                    "audiohook-session-id",
                    "audiohook-correlation-id",
                    "x-api-key",
                ),
                (*self._ids, self.key),
                strict=True,
            )
        )
        times = f"created={int(wall_s)};expires={int(wall_s) + 30}"
        nonce = secrets.token_urlsafe(24)
        parameters = f'keyid="{self.key}";nonce="{nonce}";alg="hmac-sha256";{times}'
        return signed(named, self.address, parameters, self.secret)

    def opening(self, call: Call) -> list[str]:
        """See `Caller`."""
        channels = ["external", "internal"][: self.n_parties]
        nobody = {"id": self._ids[2], "ani": "", "aniName": "", "dnis": ""}
        parameters = {
            "organizationId": self._ids[0],
            "conversationId": call.id,
            "participant": nobody,
            "media": [{"type": "audio", "format": "PCMU", "channels": channels, "rate": RATE_HZ}],
            "customConfig": {"token": call.token},
            "language": "en-US",
        }
        return [self._message("open", 0, parameters)]

    def audio(self, call: Call) -> Iterator[Due]:
        """See `Caller`."""
        together = interleaved(call.parties)
        n_bytes = self.frame_ms * RATE_HZ // 1000 * self.n_parties
        for start in range(0, len(together), n_bytes):
            frame = together[start : start + n_bytes]
            yield Due((start + len(frame)) / self.n_parties / RATE_HZ, frame)

    def closing(self, call: Call) -> list[str]:
        """See `Caller`."""
        return [self._message("close", len(call.parties[0]), {"reason": "end"})]

    def hear(self, message: str) -> None:
        """Of the server's: the next of ours says how far we have read."""
        self._n_heard = json.loads(message)["seq"]

    def _message(self, kind: str, position_samples: int, parameters: dict[str, object]) -> str:
        self._n_sent += 1
        envelope = {
            "version": "2",
            "type": kind,
            "id": self._ids[1],
            "seq": self._n_sent,
            "serverseq": self._n_heard,
            "position": f"PT{position_samples / RATE_HZ:.3f}S",
            "parameters": parameters,
        }
        return json.dumps(envelope)


def signed(headers: dict[str, str], url: str, parameters: str, secret: bytes) -> dict[str, str]:
    """These headers and their signature, RFC 9421 as AudioHook has it."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    names = " ".join(f'"{name}"' for name in ("@request-target", "@authority", *headers))
    covered = f"({names});{parameters}"
    lines = [f'"@request-target": {target}', f'"@authority": {parts.netloc.lower()}']
    lines += [f'"{name}": {value}' for name, value in headers.items()]
    lines.append(f'"@signature-params": {covered}')
    mac = hmac.digest(secret, "\n".join(lines).encode(), "sha256")
    signature = base64.b64encode(mac).decode()
    return {**headers, "Signature-Input": f"sig1={covered}", "Signature": f"sig1=:{signature}:"}


def interleaved(parties: Sequence[bytes]) -> bytes:
    """A byte of each in turn."""
    return bytes(sample for step in zip(*parties, strict=True) for sample in step)
