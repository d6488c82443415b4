"""OpenAI's Realtime API, sessions that transcribe: frames of one connection in, what to say to a
native session and to the client out.

The session starts with the first audio that comes after an update, by what was wished until then;
audio that is there before the first update waits for it, for some clients send both at once. What
comes later than that and cannot change any more is answered by an `error`, which some clients take
for the end: so there is none for what harms nobody, nor where the client had better come again.
Whatever is understood keeps the session alive, before it starts too, for OpenAI sends nobody away
who is quiet.
Refuses, each with an `error` that names the client's event: sessions that do more than transcribe,
events of such sessions, binary frames, audio that is not base64. Nothing is lost by one; too many
in a row end the session.
"""

import binascii
from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec

from server import errors, wire
from server.dialects import openai_errors
from server.dialects.openai_asked import is_served
from server.dialects.openai_realtime_messages import (
    Append,
    Clear,
    Commit,
    Fault,
    FlatUpdate,
    MessageError,
    ServerEvent,
    SessionUpdate,
    decode_event,
    encode,
    event_id_of,
)
from server.dialects.openai_realtime_settings import (
    Wishes,
    flat_session,
    nested_session,
    wishes_after,
    wishes_kept,
)
from server.dialects.openai_realtime_turns import Turns
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
from server.errors import Refusal

PATH = "/v1/realtime"
_PROTOCOL = "realtime"
_KEY_PREFIX = "openai-insecure-api-key."
"""Of the subprotocol in which a page brings its key."""
_BETA_PROTOCOL, _BETA_HEADER = "openai-beta.realtime-v1", "openai-beta"
_MOST_FAULTS = 20
_MOST_HELD_MS = 2_000
_MOST_WAITING = 100
"""Of turns that the client has ended."""
_POLICY, _NORMAL, _RESTART = 1008, 1000, 1012
_OURS = range(4000, 5000)
_BY_CODE = {refusal.code: refusal for refusal in errors.ALL}
_CODES = {
    errors.QUOTA_BYTES: ("insufficient_quota", "insufficient_quota"),
    errors.QUOTA_AUDIO: ("insufficient_quota", "insufficient_quota"),
    errors.QUOTA_DAILY: ("insufficient_quota", "insufficient_quota"),
    errors.TOO_FAST: ("rate_limit_error", "rate_limit_exceeded"),
    errors.TOKEN_EXPIRED: ("invalid_request_error", "session_expired"),
    errors.SESSION_TOO_LONG: ("invalid_request_error", "session_expired"),
    errors.BAD_MESSAGE: ("invalid_request_error", "invalid_event"),
}
"""Types and codes that OpenAI's clients know."""
_NOT_UNDERSTOOD = "Too many events in a row were not understood."
_QUIET = {errors.IDLE, errors.START_LATE}
"""Who said nothing for so long has done nothing wrong."""


class OpenAiRealtime:
    """A dialect."""

    def __init__(self, host: Host, wishes: Wishes | None, *, is_flat: bool) -> None:
        """`wishes`: those that came with the key, if any did."""
        self._model = host.model
        self._session_id = "sess_" + host.new_id().replace("-", "")
        self._turns = Turns(host.new_id, is_flat=is_flat)
        self._wishes = wishes or Wishes()
        self._is_asked = wishes is not None
        """Whether the client has said what it wishes."""
        self._started: Wishes | None = None
        """What it wished when the session started."""
        self._held = bytearray()
        self._heard_bytes = self._ended_bytes = 0
        """Of all audio; of that in turns that the client has ended."""
        self._n_faults = 0
        self._follow_wishes()

    def open(self) -> list[Translated]:
        """See `ClientDialect`."""
        return [self._tell_session("created")]

    def receive(self, frame: str | bytes) -> list[Translated]:
        """See `ClientDialect`."""
        try:
            translated = self._hear(frame)
        except MessageError as fault:
            self._n_faults += 1
            event_id = event_id_of(frame) if isinstance(frame, str) else None
            told = Fault("invalid_request_error", fault.code, fault.text, fault.param, event_id)
            answer = [Reply(encode(self._error(told)))]
            return [*answer, Broken()] if self._n_faults >= _MOST_FAULTS else [*answer]
        self._n_faults = 0
        is_heard = any(isinstance(each, Say | Hear) for each in translated)
        return translated if is_heard else [*translated, Say(wire.KeepAlive())]

    def tell(self, event: wire.ServerEvent) -> list[str | bytes]:
        """See `ClientDialect`."""
        told = self._turns.receive(event)
        if isinstance(event, wire.ErrorEvent):
            fault = _fault_of(event)
            told += [self._error(fault)] if fault else []
        return [encode(each) for each in told]

    def close_code(self, code: int) -> int:
        """See `ClientDialect`. Clients come again after 1011, 1012 and 1013, so these are kept for
        when that helps.
        """
        if code == errors.LEASE_LOST.close_code:
            return _RESTART
        if code == errors.IDLE.close_code:
            return _NORMAL
        return _POLICY if code in _OURS else code

    def _hear(self, frame: str | bytes) -> list[Translated]:
        if isinstance(frame, bytes):
            raise MessageError("invalid_event", "Events are text: audio comes as base64.")
        event = decode_event(frame)
        match event:
            case Append():
                return self._append(event.audio)
            case Commit():
                return self._end_turn(self._turns.commit)
            case Clear():
                return self._clear()
            case _:
                self._turns.is_flat = isinstance(event, FlatUpdate)
                return self._update(event.session)

    def _append(self, audio: str) -> list[Translated]:
        try:
            payload = binascii.a2b_base64(audio, strict_mode=True)
        except (binascii.Error, ValueError):
            raise MessageError("invalid_value", "The audio is not base64.", "audio") from None
        if not payload:
            return []
        self._heard_bytes += len(payload)
        if self._started is None:
            self._held += payload
            most_bytes = self._wishes.bytes_per_s * _MOST_HELD_MS // 1000
            is_waiting = not self._is_asked and len(self._held) <= most_bytes
            return [] if is_waiting else self._start()
        return [Hear(payload)]

    def _start(self) -> list[Translated]:
        """With what has come until now."""
        self._started = self._wishes
        held, self._held = bytes(self._held), bytearray()
        return [Say(self._started.start()), *([Hear(held)] if held else [])]

    def _end_turn(self, end: Callable[[int], list[ServerEvent]]) -> list[Translated]:
        if self._heard_bytes == self._ended_bytes:
            raise MessageError(
                "input_audio_buffer_commit_empty",
                "Nothing was appended since the last commit.",
            )
        if self._turns.n_waiting >= _MOST_WAITING:
            raise MessageError("rate_limit_exceeded", "Too many turns wait for their words.")
        started = [] if self._started else self._start()
        self._ended_bytes = self._heard_bytes
        replies = [Reply(encode(each)) for each in end(self._heard_ms())]
        return [*started, *replies, Say(wire.Flush(answer=True))]

    def _clear(self) -> list[Translated]:
        if self._started is not None and self._heard_bytes > self._ended_bytes:
            return self._end_turn(self._turns.clear)
        self._heard_bytes -= len(self._held)
        self._held.clear()
        return [Reply(encode(self._turns.event("input_audio_buffer.cleared")))]

    def _update(self, session: SessionUpdate) -> list[Translated]:
        before, after = self._wishes, wishes_after(self._wishes, session, self._model)
        if self._started is not None:
            after = wishes_kept(self._started, after)
        ended: list[Translated] = []
        is_left_open = self._turns.has_open_turn() and self._heard_bytes > self._ended_bytes
        if after.silence_ms is not None and is_left_open:
            ended = self._end_turn(self._turns.commit)
        self._wishes, self._is_asked = after, True
        self._follow_wishes()
        if self._started is not None and after.language != before.language:
            ended.append(Say(wire.ChangeLanguage(after.language)))
        if self._held:
            ended += self._start()
        return [*ended, self._tell_session("updated")]

    def _follow_wishes(self) -> None:
        self._turns.are_cut_by_silence = self._wishes.silence_ms is not None
        self._turns.has_logprobs = self._wishes.has_logprobs

    def _heard_ms(self) -> int:
        return self._heard_bytes * 1000 // self._wishes.bytes_per_s

    def _tell_session(self, change: str) -> Reply:
        is_flat = self._turns.is_flat
        event = self._turns.event(f"{'transcription_' if is_flat else ''}session.{change}")
        session = (flat_session if is_flat else nested_session)(self._wishes, self._session_id)
        event.session = msgspec.Raw(session)
        return Reply(encode(event))

    def _error(self, fault: Fault) -> ServerEvent:
        event = self._turns.event("error")
        event.error = fault
        return event


def _fault_of(event: wire.ErrorEvent) -> Fault | None:
    """None: the close says all there is to say, and some clients come again after it."""
    refusal = _BY_CODE.get(event.code, errors.INTERNAL)
    if refusal in _QUIET or refusal.is_retryable:
        return None
    known = openai_errors.fault_of(refusal)
    kind, code = _CODES.get(refusal, (known.type, known.code))
    return Fault(kind, code, _NOT_UNDERSTOOD if refusal is errors.BAD_MESSAGE else event.message)


class OpenAiApi:
    """See `ClientApi`."""

    paths: Sequence[str] = (PATH,)
    may_be_quiet = True

    def keys(self, upgrade: Upgrade) -> list[str]:
        """A browser brings it as a subprotocol."""
        offered = [each for each in upgrade.subprotocols if each.startswith(_KEY_PREFIX)]
        return [each.removeprefix(_KEY_PREFIX) for each in offered]

    def subprotocol(self, upgrade: Upgrade) -> str | None:
        """See `ClientApi`."""
        return _PROTOCOL if _PROTOCOL in upgrade.subprotocols else None

    def new_dialect(self, upgrade: Upgrade, host: Host) -> ClientDialect:
        """Raises DeclinedError."""
        intent = upgrade.parameter("intent")
        if intent not in (None, "transcription"):
            text = "Sessions here transcribe and do nothing else: intent is transcription."
            raise _declined(errors.BAD_REQUEST, "intent", text)
        model = upgrade.parameter("model")
        if model and not is_served(model, host.model):
            raise _declined(errors.MODEL_UNKNOWN, "model")
        is_flat = _BETA_PROTOCOL in upgrade.subprotocols or upgrade.header(_BETA_HEADER) is not None
        wishes = host.carried if isinstance(host.carried, Wishes) else None
        return OpenAiRealtime(host, wishes, is_flat=is_flat)

    def headers(self, dialect: ClientDialect) -> Sequence[tuple[str, str]]:
        """None."""
        return ()

    def refuse(self, refusal: Refusal) -> Answer:
        """See `ClientApi`."""
        return _answer(refusal)


def _declined(refusal: Refusal, param: str | None, text: str | None = None) -> DeclinedError:
    return DeclinedError(_answer(replace(refusal, text=text or refusal.text), param))


def _answer(refusal: Refusal, param: str | None = None) -> Answer:
    body = openai_errors.error_body(refusal, param)
    return Answer(refusal.http_status, body, openai_errors.error_headers(refusal))
