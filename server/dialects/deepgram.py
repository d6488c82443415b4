"""Deepgram's live API: its frames in, what to say to the session and its messages out.

The session is started as soon as it is known what the audio is: by the query, or by the header of
a WAV file. A text frame that is none of the client's messages gets an error, and the session goes
on. A session of ours that ends by a code that no client of Deepgram's knows is closed with 1000,
after the error: after any other its clients connect again, some thirty times, and would be refused
as often.

Refused: options that change what comes back and are not done here, before the connection is
accepted; audio that cannot be read, as Deepgram does, by an error and close code 1008.
"""

from collections.abc import Callable, Sequence
from enum import Enum, auto

from server import errors, wire
from server.dialects import deepgram_messages as messages
from server.dialects.deepgram_audio import HeardAudio
from server.dialects.deepgram_errors import declined, error_of, refused
from server.dialects.deepgram_options import LiveOptions, OptionError, live_options
from server.dialects.deepgram_results import ChannelResults
from server.dialects.translation import (
    Answer,
    Broken,
    ClientDialect,
    DeclinedError,
    Hear,
    Host,
    Say,
    Translated,
)
from server.dialects.values import Reply, Upgrade
from server.dialects.wav_stream import WavError
from server.errors import Refusal

_FIRST_OWN_CLOSE_CODE = 4000
_NORMAL_CLOSE = 1000
_CLOSE_CODES = {
    errors.BAD_MESSAGE.close_code: 1008,
    errors.MESSAGE_TOO_BIG.close_code: _NORMAL_CLOSE,
    errors.IDLE.close_code: 1011,
    errors.LEASE_LOST.close_code: 1012,
}
_MARKERS = {"token", "bearer"}
_STILL_HERE = Say(wire.KeepAlive())
"""Also before the start: who reads a microphone at leisure is not idle."""
_NO_MESSAGE = messages.Error(
    "SchemaError", "The message is none of KeepAlive, Finalize, CloseStream and Configure."
)


class _State(Enum):
    OPEN = auto()
    """What the samples are is not known yet."""
    HEARING = auto()
    STOPPED = auto()
    """Nothing more is heard."""


class DeepgramLive:
    """One connection."""

    def __init__(self, options: LiveOptions, host: Host) -> None:
        self.request_id = host.new_id()
        self._options = options
        self._created = messages.utc_text(host.wall_s)
        self._metadata = messages.ResultsMetadata(
            self.request_id, messages.model_info(host.model), messages.model_uuid(host.model)
        )
        self._state = _State.OPEN
        self._audio = HeardAudio(options)
        self._channels = self._new_channels()
        self._has_failed = False

    def open(self) -> list[Translated]:
        """The start, if the query says what the audio is."""
        return self._start()

    def receive(self, frame: str | bytes) -> list[Translated]:
        """Audio, or a message."""
        if self._state is _State.STOPPED:
            return []
        if isinstance(frame, str):
            return self._receive_message(messages.decode_client_message(frame))
        if not frame:
            return self._stop()
        try:
            samples = self._audio.receive(frame)
        except WavError:
            self._state = _State.STOPPED
            return [Broken()]
        started = self._start() if self._state is _State.OPEN else []
        return [*started, *(self._hear(samples) if samples else [_STILL_HERE])]

    def tell(self, event: wire.ServerEvent) -> list[str | bytes]:
        """What was heard, and the end."""
        heard_ms = self._audio.heard_ms
        told: list[messages.ServerMessage] = []
        match event:
            case wire.Ready():
                for channel in self._channels:
                    channel.ready(event.end_of_speech_ms)
            case wire.SpeechStarted() | wire.Partial() | wire.SpeechEnded() | wire.Final():
                told = self._channels[event.channel].tell(event, heard_ms)
            case wire.Flushed(at_ms, index):
                told = self._channels[index].tell_flushed(at_ms, heard_ms)
            case wire.ErrorEvent(code, text):
                self._state, self._has_failed = _State.STOPPED, True
                told = [*self._end_all(), error_of(code, text)]
            case wire.Ended():
                self._state = _State.STOPPED
                last = [] if self._has_failed else [self._last_metadata()]
                told = [*self._end_all(), *last]
            case _:
                pass
        return [messages.encode(message) for message in told]

    def close_code(self, code: int) -> int:
        """Deepgram's."""
        return _CLOSE_CODES.get(code, _NORMAL_CLOSE if code >= _FIRST_OWN_CLOSE_CODE else code)

    # --- client to session ---

    def _receive_message(self, message: messages.ClientMessage | None) -> list[Translated]:
        match message:
            case messages.KeepAlive():
                return [_STILL_HERE]
            case messages.CloseStream():
                return self._stop()
            case messages.Finalize(index) if index is None or index < len(self._channels):
                return self._finalize(index)
            case messages.Configure(keyterms):
                return [_STILL_HERE, _reply(self._configured(keyterms))]
            case _:
                return [_reply(_NO_MESSAGE)]

    def _configured(
        self, keyterms: list[str] | None
    ) -> messages.ConfigureSuccess | messages.ConfigureFailure:
        """Formatting is ours anyway; terms are taken at the start only."""
        if keyterms is None:
            return messages.ConfigureSuccess(self.request_id)
        code = "CONFIGURE_KEYTERMS_NOT_SUPPORTED"
        text = "Keyterms are taken from the query, when the connection is opened."
        return messages.ConfigureFailure(self.request_id, code, text)

    def _start(self) -> list[Translated]:
        """Once it is known what the samples are."""
        audio_format = self._audio.audio_format
        if audio_format is None:
            return []
        self._state = _State.HEARING
        self._channels = self._new_channels()
        return [Say(self._options.start(audio_format, self._audio.channels))]

    def _new_channels(self) -> list[ChannelResults]:
        n_channels = self._audio.channels
        return [
            ChannelResults((index, n_channels), self._options, self._metadata)
            for index in range(n_channels)
        ]

    def _hear(self, samples: bytes) -> list[Translated]:
        heard_ms = self._audio.heard_ms
        ends = [end for channel in self._channels for end in channel.ends(heard_ms)]
        return [Hear(samples), *map(_reply, ends)]

    def _finalize(self, index: int | None) -> list[Translated]:
        wished = self._channels if index is None else [self._channels[index]]
        if self._state is _State.OPEN:
            return [_STILL_HERE, *(_reply(channel.nothing(0)) for channel in wished)]
        for channel in wished:
            channel.finalize()
        return [Say(wire.Flush(channel=index, answer=True))]

    def _stop(self) -> list[Translated]:
        self._state = _State.STOPPED
        for channel in self._channels:
            channel.stop()
        return [Say(wire.Stop())]

    # --- session to client ---

    def _end_all(self) -> list[messages.ServerMessage]:
        heard_ms = self._audio.heard_ms
        return [message for channel in self._channels for message in channel.end(heard_ms)]

    def _last_metadata(self) -> messages.Metadata:
        return messages.Metadata(
            transaction_key="deprecated",
            request_id=self.request_id,
            sha256=self._audio.sha256,
            created=self._created,
            duration_s=self._audio.heard_ms / 1000,
            channels=len(self._channels),
        )


def _reply(message: messages.ServerMessage) -> Reply:
    return Reply(messages.encode(message))


class DeepgramApi:
    """See `ClientApi`."""

    paths: Sequence[str] = ("/v1/listen",)
    may_be_quiet = False

    def __init__(self, new_id: Callable[[], str]) -> None:
        """`new_id`: as in `Host`, for those who do not come that far."""
        self._new_id = new_id

    def keys(self, upgrade: Upgrade) -> list[str]:
        """`token, <key>` or `bearer, <key>`, of a page."""
        offered = upgrade.subprotocols
        is_key = [False, *(each.casefold() in _MARKERS for each in offered)]
        return [each for each, is_it in zip(offered, is_key, strict=False) if is_it]

    def subprotocol(self, upgrade: Upgrade) -> str | None:
        """The word before the key."""
        return next((each for each in upgrade.subprotocols if each.casefold() in _MARKERS), None)

    def new_dialect(self, upgrade: Upgrade, host: Host) -> DeepgramLive:
        """Raises DeclinedError."""
        try:
            options = live_options(upgrade.query, host.model.languages)
        except OptionError as error:
            raise DeclinedError(declined(error.text, host.new_id())) from None
        return DeepgramLive(options, host)

    def headers(self, dialect: ClientDialect) -> Sequence[tuple[str, str]]:
        """The id by which both sides know the connection."""
        request_id = dialect.request_id if isinstance(dialect, DeepgramLive) else self._new_id()
        return [("dg-request-id", request_id)]

    def refuse(self, refusal: Refusal) -> Answer:
        """In Deepgram's JSON."""
        return refused(refusal, self._new_id())
