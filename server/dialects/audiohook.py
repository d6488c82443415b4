"""Genesys Cloud's AudioHook, version 2: frames of one connection in, what they mean out.

One call, both its parties interleaved, 8 kHz. Each side counts its messages, and a gap ends the
connection; so ours are numbered in the order in which this returns them, and are to be sent in that
order. Audio that the client left out is told by no clock but by the `position` of its `resumed` and
`discarded`: the vendor's own client and tests count their stream by that, and not by what the two
say was left out. Finals go back, one to a message; captions that may still change do not: the
vendor's tests forbid them. Nothing waits, or is merged, because of a rate: five texts a second, and
25 at once, are more than two parties say, with the silence that ends what each of them says.

The client closes, always: after its `close` it waits for `closed`, after a `disconnect` of ours it
sends `close` first. So no `Close` is ever told, and frames are to be received after `Ended` too.
Its pings are answered until then, or it would not wait for the last words.
Refused: messages out of turn, of another session or organization, of an unknown type; audio that
was not asked for, while paused above all, and samples cut in two.
"""

from dataclasses import dataclass
from enum import Enum, auto

import msgspec

from server import errors, wire
from server.audio import AudioFormat, Encoding, ms_from_samples
from server.dialects import audiohook_messages as messages
from server.dialects.audiohook_messages import NIL_ID, RATE_HZ, Envelope, Media, Parameters
from server.dialects.audiohook_transcripts import event_of
from server.dialects.language_tags import language_tags
from server.dialects.values import (
    Admitted,
    Audio,
    Ended,
    Fault,
    Flush,
    Frame,
    Heard,
    LanguageChanged,
    Opening,
    Reply,
    Said,
    Stopped,
    Told,
    Upgrade,
    is_id,
    language_of,
)
from server.errors import RefusedError

_PASSED_OVER = frozenset({"error", "dtmf", "playback_started", "playback_completed"})
"""An error is followed by `close`; the others are of other products on the same protocol."""
_STRANGERS = frozenset({401, 403})
"""HTTP statuses of refusals of who it is."""


@dataclass(frozen=True, slots=True)
class AudioHookSettings:
    """What the protocol leaves open."""

    tracks: tuple[str, ...] | None = None
    """The parties that are heard, `external` or `internal`; None: all that are offered."""
    is_l16_big_endian: bool = False
    """The vendor's own server takes it as its machine has it."""


class _State(Enum):
    UNOPENED = auto()
    OPENING = auto()
    """Until the session listens."""
    ACTIVE = auto()
    PAUSED = auto()
    CLOSING = auto()
    """The client waits for the last words."""
    FAULTY = auto()
    """Nothing more is heard; the reason is still to be told."""
    DISCONNECTING = auto()
    """The client has been told to close."""
    CLOSED = auto()


_HEARING = frozenset({_State.UNOPENED, _State.OPENING, _State.ACTIVE, _State.PAUSED})
_STREAMING = frozenset({_State.ACTIVE, _State.PAUSED})
_TELLING = _STREAMING | {_State.CLOSING, _State.FAULTY}
"""A fault ends what is heard, not what was said before it."""


class AudioHook:
    """A dialect."""

    def __init__(self, upgrade: Upgrade, settings: AudioHookSettings) -> None:
        self._settings = settings
        self._session_id = upgrade.header("audiohook-session-id")
        self._organization_id = upgrade.header("audiohook-organization-id")
        self._state = _State.UNOPENED
        self._seq = 0
        """Of our last message."""
        self._client_seq = 0
        self._position_samples = 0
        """Of a channel: where the next audio belongs."""
        self._media: Media | None = None
        self._opened: messages.Open | None = None

    def receive(self, frame: str | bytes) -> list[Heard]:
        """See `Dialect`."""
        try:
            return self._receive_audio(frame) if isinstance(frame, bytes) else self._hear(frame)
        except RefusedError as refused:
            if self._state not in _HEARING:
                return []
            self._state = _State.FAULTY
            return [Fault(refused.refusal, refused.reason)]

    def tell(self, told: Told) -> list[Frame]:
        """See `Dialect`."""
        match told:
            case Admitted():
                return self._admit(told)
            case Said():
                return self._say(told)
            case Ended():
                return self._end(told)

    def _receive_audio(self, payload: bytes) -> list[Heard]:
        if self._state not in _HEARING or not payload:
            return []  # the vendor's probe sends an empty one
        if self._state is not _State.ACTIVE or self._media is None:
            raise RefusedError(errors.BAD_REQUEST, "audiohook_audio_unasked")
        frame_bytes = self._audio_format(self._media).sample_bytes * len(self._media.channels)
        if len(payload) % frame_bytes:
            raise RefusedError(errors.BAD_REQUEST, "audiohook_audio_cut")
        at_ms = ms_from_samples(self._position_samples, RATE_HZ)
        self._position_samples += len(payload) // frame_bytes
        return [] if self._is_probe() else [Audio(payload, at_ms=at_ms)]

    def _hear(self, frame: str) -> list[Heard]:
        message = messages.decode_envelope(frame)
        if self._state not in _HEARING:
            return self._hear_last(message)
        return self._hear_next(message, self._place(message))

    def _hear_next(self, message: Envelope, position_samples: int) -> list[Heard]:
        match message.type:
            case "open":
                return [self._open(message)]
            case "close":
                self._state = _State.CLOSING
                return [Stopped()]
            case "ping":
                return [Reply(self._frame("pong", messages.Nothing()))]
            case "update":
                return self._update(message)
            case "paused" | "resumed" | "discarded":
                return self._move(message.type, position_samples)
            case other if other in _PASSED_OVER:
                return []
            case _:
                raise RefusedError(errors.BAD_REQUEST, "audiohook_type_unknown")

    def _hear_last(self, message: Envelope) -> list[Heard]:
        """The client's side of the farewell; its other messages crossed ours on the way."""
        if self._state is _State.CLOSED:
            return []
        self._client_seq = message.seq
        if message.type == "ping":
            return [Reply(self._frame("pong", messages.Nothing()))]
        if message.type == "close" and self._state is _State.FAULTY:
            self._state = _State.CLOSING
        elif message.type == "close" and self._state is _State.DISCONNECTING:
            self._state = _State.CLOSED
            return [Reply(self._frame("closed", messages.Nothing()))]
        return []

    def _place(self, message: Envelope) -> int:
        """Whether it follows the one before; where its stream is, in samples."""
        if message.seq != self._client_seq + 1:
            raise RefusedError(errors.BAD_REQUEST, "audiohook_sequence_broken")
        self._client_seq = message.seq
        if message.serverseq > self._seq:
            raise RefusedError(errors.BAD_REQUEST, "audiohook_server_sequence_unknown")
        if self._session_id is None:
            self._session_id = message.id
        if message.id != self._session_id:
            raise RefusedError(errors.BAD_REQUEST, "audiohook_session_differs")
        return messages.decode_position_samples(message.position_text)

    def _open(self, message: Envelope) -> Opening:
        if self._state is not _State.UNOPENED:
            raise RefusedError(errors.BAD_REQUEST, "audiohook_opened_twice")
        opened = messages.decode_open(message.parameters)
        if self._organization_id not in (None, opened.organization_id):
            raise RefusedError(errors.UNAUTHENTICATED, "audiohook_organization_differs")
        self._opened = opened
        self._media = _chosen(opened.media, self._settings.tracks)
        if self._media is None and not self._is_probe():
            raise RefusedError(errors.BAD_REQUEST, "audiohook_media_unknown")
        self._state = _State.OPENING
        return Opening(
            tracks=tuple(self._media.channels) if self._media else (),
            audio_format=self._audio_format(self._media),
            call_id=None if opened.conversation_id == NIL_ID else opened.conversation_id,
            language=language_of(opened.language),
            token=opened.custom_config.token,
            ticket=opened.custom_config.ticket,
            caller=_number(opened.participant.ani),
            callee=_number(opened.participant.dnis),
            is_probe=self._is_probe(),
        )

    def _update(self, message: Envelope) -> list[Heard]:
        if self._state not in _STREAMING:
            return []
        language = language_of(messages.decode_update(message.parameters).language)
        updated = Reply(self._frame("updated", messages.Nothing()))
        return [Flush(), LanguageChanged(language), updated]

    def _move(self, kind: str, position_samples: int) -> list[Heard]:
        if self._state not in _STREAMING:
            return []
        was_active = self._state is _State.ACTIVE
        if kind == "paused":
            self._state = _State.PAUSED
            return [Flush()] if was_active else []
        self._position_samples = max(self._position_samples, position_samples)
        if kind == "resumed":
            self._state = _State.ACTIVE
        return []

    def _admit(self, told: Admitted) -> list[Frame]:
        if self._state is not _State.OPENING or self._opened is None:
            return []
        self._state = _State.ACTIVE
        asks = self._opened.supported_languages
        opened = messages.Opened(
            media=[self._media] if self._media else [],
            supported_languages=language_tags(told.languages) if asks else msgspec.UNSET,
        )
        return [self._frame("opened", opened)]

    def _say(self, told: Said) -> list[Frame]:
        if self._state not in _TELLING or not isinstance(told.event, wire.Final):
            return []
        event = event_of(self._session_id or NIL_ID, told.channel, told.event)
        return [self._frame("event", event)] if event else []

    def _end(self, told: Ended) -> list[Frame]:
        if self._state is _State.CLOSING:
            self._state = _State.CLOSED
            return [self._frame("closed", messages.Nothing())]
        if self._state in (_State.DISCONNECTING, _State.CLOSED):
            return []
        was_open = self._state in _STREAMING
        self._state = _State.DISCONNECTING
        if told.refusal is None:
            parting = messages.Disconnect("completed", "")
        elif told.refusal.http_status in _STRANGERS and not was_open:
            parting = messages.Disconnect("unauthorized", told.refusal.text)
        else:
            parting = messages.Disconnect("error", told.refusal.text)
        return [self._frame("disconnect", parting)]

    def _frame(self, kind: str, parameters: Parameters) -> str:
        self._seq += 1
        return messages.encode(
            messages.ServerMessage(
                self._session_id or NIL_ID, kind, self._seq, self._client_seq, parameters
            )
        )

    def _audio_format(self, media: Media | None) -> AudioFormat:
        if media is None or media.format != "L16":
            return AudioFormat(Encoding.MULAW, RATE_HZ)
        is_big_endian = self._settings.is_l16_big_endian
        return AudioFormat(Encoding.PCM_S16BE if is_big_endian else Encoding.PCM_S16LE, RATE_HZ)

    def _is_probe(self) -> bool:
        opened = self._opened
        return opened is not None and opened.conversation_id == opened.participant.id == NIL_ID


def _chosen(offered: list[Media], heard: tuple[str, ...] | None) -> Media | None:
    """Both parties rather than one, then PCMU rather than L16, which is twice as long; of equals
    the first, as the vendor's own server does.
    """
    fit = [
        media
        for media in offered
        if media.is_readable and (heard is None or set(heard).issuperset(media.channels))
    ]
    return max(fit, key=lambda media: (len(media.channels), media.format == "PCMU"), default=None)


def _number(text: str) -> str | None:
    """What is too long to be one, or cannot be printed, is left out."""
    return text if is_id(text) else None
