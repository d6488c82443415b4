"""One track's frames in, what the session is to hear out; and where in the stream it was heard.

Telephone systems leave silence out, repeat, overtake themselves and send in bursts, so time is what
a frame's stamp says, or else the clock on which frames arrive. What is missing between two stamps
is filled with the encoding's silence if it is short, so that a pause is heard; else what is being
said is cut, the map from the session's time to the stream's jumps, and only the last of the gap is
filled: what is taken from before the next word is then silence of its own time. On the clock alone
a gap may be a stall: it is filled less eagerly, and a burst after it takes the jump back.

A stamp costs nobody a word: one that lies before where we are, by a little, is the peer's rounding
or its clock, by a lot a new beginning, and the audio goes on where it was. Only numbers make a
frame late or a duplicate. Interleaved channels are placed together. Holds a few frames for less
than the window, and some thousand jumps.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

from server.audio import AudioFormat, Encoding, ms_from_samples, samples_from_ms
from server.dialects.values import Audio
from server.reordering import Arrived, Reordering

_SILENCE = {
    Encoding.PCM_S16LE: b"\0\0",
    Encoding.PCM_S16BE: b"\0\0",
    Encoding.PCM_F32LE: b"\0\0\0\0",
    Encoding.MULAW: b"\xff",
    Encoding.ALAW: b"\xd5",
}
_MOST_JUMPS = 2000
"""Older ones are forgotten by halves: nothing is said any more about what lay before them."""


@dataclass(frozen=True, slots=True)
class PlacingSettings:
    """How long frames are waited for, and what a gap is."""

    window_frames: int = 5
    """So many may overtake one."""
    window_ms: int = 100
    """No frame waits longer for those before it."""
    tolerance_ms: int = 20
    """Stamps this far ahead are still contiguous: they are rounded, and their clock jitters."""
    filled_ms: int = 200
    """A longer gap is not filled."""
    lead_in_ms: int = 600
    """Silence that is left of a longer gap: more than the segmenter's pre-roll and a window."""
    quiet_ms: int = 400
    """Without a frame for so long, what was being said has ended."""
    rewind_ms: int = 1000
    """A stamp further back than this is one of another clock."""


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """Whole samples of all channels, of the wire's encoding."""

    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Cut:
    """What is being said ends here; the next sound may lie elsewhere in time."""


Placed = Sound | Cut


@dataclass(frozen=True, slots=True)
class _Jump:
    """From this sample of what the session got, the stream is so many further on."""

    session_sample: int
    offset_samples: int
    stream_sample: int
    """Where the stream was before: nothing after the jump lies earlier."""


class Placing:
    """Of one track, or of several that are interleaved. Sans-I/O."""

    def __init__(
        self,
        audio_format: AudioFormat,
        n_channels: int,
        settings: PlacingSettings,
        begun_s: float,
    ) -> None:
        """`begun_s`: when the stream did, where no stamp says so."""
        self._begun_s = begun_s
        self._rate_hz = rate_hz = audio_format.sample_rate_hz
        self._tolerance_samples = samples_from_ms(settings.tolerance_ms, rate_hz)
        self._filled_samples = samples_from_ms(settings.filled_ms, rate_hz)
        self._lead_in_samples = samples_from_ms(settings.lead_in_ms, rate_hz)
        self._quiet_samples = samples_from_ms(settings.quiet_ms, rate_hz)
        self._rewind_samples = samples_from_ms(settings.rewind_ms, rate_hz)
        self._quiet_s = settings.quiet_ms / 1000
        self._step_bytes = audio_format.sample_bytes * n_channels
        self._silence = _SILENCE[audio_format.encoding] * n_channels
        self._reordering = Reordering(settings.window_frames, settings.window_ms / 1000)
        self._rest = b""
        """Of a sample, or of what several channels have at one time."""
        self._given_samples = 0
        self._jumps = [_Jump(0, 0, 0)]
        self._stamp_offset_samples = 0
        self._origin_s: float | None = None
        """When the stream began, by the frame that was delayed least."""
        self._stall_samples = 0
        """Of the last jump, what a burst may still take back."""
        self._stall_until_s = 0.0
        self._heard_s: float | None = None
        """When the last frame came; None: nothing since the last cut."""
        self._patience_s = self._quiet_s
        """Without a frame for so long it is a pause: long frames come seldom."""
        self._gap_samples = 0

    @property
    def n_late(self) -> int:
        """Frames that came after they were given up."""
        return self._reordering.n_late

    @property
    def n_lost(self) -> int:
        """Frames that were given up."""
        return self._reordering.n_lost

    @property
    def n_duplicate(self) -> int:
        """Frames that had come before."""
        return self._reordering.n_duplicate

    @property
    def gap_ms(self) -> int:
        """Of the stream, what no frame held; its beginning is none."""
        return ms_from_samples(self._gap_samples, self._rate_hz)

    @property
    def next_deadline_s(self) -> float | None:
        """When `tick` has something to do."""
        held_s, heard_s = self._reordering.next_deadline_s, self._heard_s
        if heard_s is None:
            return held_s
        quiet_s = heard_s + self._patience_s
        return quiet_s if held_s is None else min(held_s, quiet_s)

    def call_ms(self, session_ms: int, *, is_end: bool = False) -> int:
        """Where in the stream that is. Of the two places that a jump has, an end is the former."""
        find = bisect_left if is_end else bisect_right
        n_before = find(self._jumps, session_ms, key=self._session_ms)
        jump = self._jumps[max(0, n_before - 1)]
        offset_ms = ms_from_samples(jump.offset_samples, self._rate_hz)
        return max(session_ms + offset_ms, ms_from_samples(jump.stream_sample, self._rate_hz))

    def receive(self, audio: Audio, now_s: float) -> list[Placed]:
        """Take a frame that came at `now_s`."""
        placed: list[Placed] = []
        for frame in self._reordering.receive(audio, now_s):
            self._place(frame, placed)
        return placed

    def tick(self, now_s: float) -> list[Placed]:
        """Let go what has waited for long enough, and hear that nobody speaks any more."""
        placed: list[Placed] = []
        for frame in self._reordering.expire(now_s):
            self._place(frame, placed)
        if self._heard_s is not None and now_s >= self._heard_s + self._patience_s:
            self._cut(placed)
        return placed

    def end(self) -> list[Placed]:
        """What is still held: nothing follows."""
        placed: list[Placed] = []
        for frame in self._reordering.end():
            self._place(frame, placed)
        self._heard_s = None
        return placed

    # --- a frame to its place ---

    @property
    def _stream_sample(self) -> int:
        return self._given_samples + self._jumps[-1].offset_samples

    def _place(self, frame: Arrived, placed: list[Placed]) -> None:
        payload = self._whole_steps(frame.audio.payload)
        n_samples = len(payload) // self._step_bytes
        at_ms = frame.audio.at_ms
        if at_ms is None:
            self._follow_clock(frame.arrived_s, n_samples, placed)
        else:
            self._follow_stamp(frame, at_ms, n_samples, placed)
        if payload:
            placed.append(Sound(payload))
            self._given_samples += n_samples
            self._heard_s = frame.arrived_s
            self._patience_s = max(self._quiet_s, 2 * n_samples / self._rate_hz)
        began_s = frame.arrived_s - self._stream_sample / self._rate_hz
        # a sample less is rounding, which would add up
        if self._origin_s is None or began_s < self._origin_s - 1 / self._rate_hz:
            self._origin_s = began_s

    def _whole_steps(self, payload: bytes) -> bytes:
        if self._rest:
            payload = self._rest + payload
        n_rest = len(payload) % self._step_bytes
        self._rest = payload[-n_rest:] if n_rest else b""
        return payload[:-n_rest] if n_rest else payload

    def _follow_stamp(
        self, frame: Arrived, at_ms: int, n_samples: int, placed: list[Placed]
    ) -> None:
        stamp_sample = samples_from_ms(at_ms, self._rate_hz)
        gap_samples = stamp_sample + self._stamp_offset_samples - self._stream_sample
        if self._origin_s is None:
            self._jump(max(0, gap_samples))  # this track begins later than the stream
        elif frame.begins_anew or gap_samples < -self._rewind_samples:
            self._follow_clock(frame.arrived_s, n_samples, placed)
            self._stall_samples = 0  # the stamps go on from where it was put
            self._stamp_offset_samples = self._stream_sample - stamp_sample
        elif gap_samples > self._tolerance_samples:
            self._gap_samples += gap_samples
            if gap_samples <= self._filled_samples:
                self._fill(gap_samples, placed)
            else:
                self._skip(gap_samples, placed)

    def _follow_clock(self, arrived_s: float, n_samples: int, placed: list[Placed]) -> None:
        origin_s = self._begun_s if self._origin_s is None else self._origin_s
        clock_samples = round((arrived_s - origin_s) * self._rate_hz)
        gap_samples = clock_samples - n_samples - self._stream_sample
        if self._origin_s is None:
            if gap_samples > self._filled_samples:
                self._jump(gap_samples)  # this track begins later than the stream
        elif gap_samples < 0 < self._stall_samples and arrived_s <= self._stall_until_s:
            self._take_back(min(-gap_samples, self._stall_samples))
            self._stall_until_s = arrived_s + self._quiet_s  # the burst goes on
        elif gap_samples > self._filled_samples:
            self._gap_samples += gap_samples
            self._stall_samples = gap_samples
            self._stall_until_s = arrived_s + self._quiet_s
            if gap_samples <= self._quiet_samples:
                self._jump(gap_samples)
            else:
                self._skip(gap_samples, placed)

    # --- gaps ---

    def _skip(self, gap_samples: int, placed: list[Placed]) -> None:
        if self._heard_s is not None:
            self._cut(placed)
        filled_samples = min(gap_samples, self._lead_in_samples)
        self._jump(gap_samples - filled_samples)
        self._fill(filled_samples, placed)

    def _cut(self, placed: list[Placed]) -> None:
        placed.append(Cut())
        self._heard_s = None

    def _fill(self, n_samples: int, placed: list[Placed]) -> None:
        placed.append(Sound(self._silence * n_samples))
        self._given_samples += n_samples

    def _jump(self, n_samples: int) -> None:
        if len(self._jumps) >= _MOST_JUMPS:
            del self._jumps[: _MOST_JUMPS // 2]
        offset_samples = self._jumps[-1].offset_samples + n_samples
        self._jumps.append(_Jump(self._given_samples, offset_samples, self._stream_sample))

    def _take_back(self, n_samples: int) -> None:
        last = self._jumps[-1]
        offset_samples = last.offset_samples - n_samples
        self._jumps[-1] = _Jump(last.session_sample, offset_samples, last.stream_sample)
        self._stall_samples -= n_samples
        self._gap_samples -= n_samples

    # --- units ---

    def _session_ms(self, jump: _Jump) -> int:
        return ms_from_samples(jump.session_sample, self._rate_hz)
