"""A file over HTTP in, its words out, in one answer or as they are heard: OpenAI's transcriptions,
a plain `/api/recognize`, and what others add.

The door is passed before the first byte of a body is read, and the file is heard as a session like
any other; see `server.oneshot`. A body is held in memory, never in a file, for as long as its
request lasts, and wiped; all bodies together have their limit, too. What is refused before the
session leaves `enter` as `RefusedError`, so that whoever let the caller in can put it on record;
what ends a session is on record with it. Of a refused body only what comes at once is read, and
dropped: then the connection is closed.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from server import errors, transcriptions
from server.dialects.openai_errors import error_body, error_headers
from server.door import Read
from server.errors import Refusal, RefusedError
from server.form import FILE, Form, FormLimits, FormReader
from server.grant import Grant
from server.incoming import Incoming
from server.line import Socket
from server.oneshot import OneShot
from server.recognition import ModelCard
from server.sound_file import SoundFile
from server.transcriptions import FieldError, Options
from server.upload import Upload
from server.wire import Final

_FORM_BYTES = 1 << 20
"""What a form may be longer than its file."""
_FORGET_LIMIT_S = 10.0

Run = Callable[[Socket], Awaitable[None]]
"""Runs a session with this peer to its end."""


@dataclass(frozen=True, slots=True)
class RestSettings:
    """How much may be uploaded."""

    most_upload_bytes: int = 26_214_400
    most_held_bytes: int = 268_435_456
    """Of all uploads that are held at the same time."""
    upload_limit_s: float = 300.0
    """For a body to arrive."""
    most_audio_s: int = 14_400
    """In one file, whatever a small one unpacks to."""


class OneShots(Protocol):
    """The door, as seen from here."""

    async def admit(self, request: Request, /) -> Grant:
        """Who it is. Raises RefusedError."""
        ...

    def enter(
        self, request: Request, read: Read | None = None, /
    ) -> AbstractAsyncContextManager[Run]:
        """Takes a place for as long as the request lasts, for whoever `read` finds to be there.
        Raises RefusedError.
        """
        ...


class Reader(Protocol):
    """Of a body."""

    def receive(self, chunk: bytes) -> None:
        """The next bytes of it. Raises RefusedError."""
        ...

    def finish(self) -> Form:
        """All of it. Raises RefusedError."""
        ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a request is read and answered."""

    new_reader: Callable[[Request, Upload], Reader]
    options: Callable[[Form], Options]
    answer: Callable[[Options, OneShot], tuple[bytes, str]]
    """The body and its media type."""
    refuse: Callable[[Refusal, str | None], Response]
    """With the field that is to blame, if one is."""
    read: Read | None = None
    """Where its credential is; None: in the usual places."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of an answer."""


def rest_routes(
    one_shots: OneShots,
    model: ModelCard,
    settings: RestSettings,
    others: Mapping[str, Callable[[Request], Dialect]] | None = None,
) -> list[Route]:
    """What HTTP clients ask for; `others` by their paths, a dialect for each request."""
    openai = Dialect(
        new_reader=lambda request, upload: FormReader(
            request.headers.get("content-type", ""),
            transcriptions.KNOWN_FIELDS,
            upload,
            FormLimits(),
        ),
        options=lambda form: transcriptions.options_from_fields(form.fields, model),
        answer=lambda options, shot: transcriptions.answer(options, shot.finals, shot.audio_ms),
        refuse=lambda refusal, field: _refused(
            refusal,
            error_body(refusal, field),
            transcriptions.error_status(refusal),
        ),
    )
    plain = Dialect(
        new_reader=lambda _request, upload: RawBody(upload.append),
        options=lambda _form: _PLAIN,
        answer=lambda _options, shot: (
            _status(transcriptions.joined_text(shot.finals), "ok"),
            "application/json",
        ),
        refuse=lambda refusal, _field: _refused(
            refusal, _status("", refusal.code), refusal.http_status
        ),
    )
    held = _Held(settings.most_held_bytes)

    async def models(request: Request) -> Response:
        try:
            await one_shots.admit(request)
            return Response(transcriptions.models_body(model), media_type="application/json")
        except RefusedError as refused:
            return openai.refuse(refused.refusal, None)

    dialects: dict[str, Callable[[Request], Dialect]] = {
        "/v1/audio/transcriptions": lambda _request: openai,
        "/api/recognize": lambda _request: plain,
        **(others or {}),
    }
    return [
        Route(path, _Endpoint(one_shots, settings, held, new_dialect), methods=["POST"])
        for path, new_dialect in dialects.items()
    ] + [Route("/v1/models", models)]


_PLAIN = Options("json", None, None, has_words=False, has_segments=False, is_streamed=False)


class _Endpoint:
    """One address that takes files."""

    def __init__(
        self,
        one_shots: OneShots,
        settings: RestSettings,
        held: "_Held",
        new_dialect: Callable[[Request], Dialect],
    ) -> None:
        self._one_shots = one_shots
        self._settings = settings
        self._held = held
        self._new_dialect = new_dialect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        incoming = Incoming(receive)
        request = Request(scope, incoming.receive)
        dialect = self._new_dialect(request)
        try:
            async with self._one_shots.enter(request, dialect.read) as run:
                most_bytes = self._most_bytes(request)
                with self._held.taken(most_bytes):
                    upload = Upload(min(most_bytes, self._settings.most_upload_bytes))
                    response = await self._respond(request, dialect, upload, run, send)
        except RefusedError as refused:
            to_blame = refused.field if isinstance(refused, FieldError) else None
            response = dialect.refuse(refused.refusal, to_blame)
            await incoming.drop_rest()
        except ClientDisconnect:
            return
        if response is not None:
            await response(scope, receive, send)

    async def _respond(
        self, request: Request, dialect: Dialect, upload: Upload, run: Run, send: Send
    ) -> Response | None:
        """None when all has been said, or nobody is there to hear it."""
        sound = None
        try:
            reader = dialect.new_reader(request, upload)
            await self._receive(request, reader)
            form = reader.finish()
            options = dialect.options(form)
            if not form.has_file:
                raise FieldError(FILE, "file is missing.")
            sound = await asyncio.to_thread(
                SoundFile,
                upload.view,
                self._settings.most_audio_s,
                hears_apart=options.hears_apart,
            )
            stream = _EventStream(send) if options.is_streamed else None
            on_final = stream.send_final if stream else _keep_quiet
            shot = OneShot(sound, options.language, options.context, on_final, sound.channels)
            await _run(run, shot, request)
        finally:
            await _forget(sound, upload)
        if shot.is_gone:
            return None
        if stream is not None and (stream.is_open or shot.refusal is None):
            await stream.end(shot)
            return None
        if shot.refusal is not None:
            return dialect.refuse(shot.refusal, None)
        body, media_type = dialect.answer(options, shot)
        return Response(body, headers=dict(dialect.headers), media_type=media_type)

    def _most_bytes(self, request: Request) -> int:
        """What the body can come to. Raises RefusedError when that is said, and too much."""
        most_bytes = self._settings.most_upload_bytes + _FORM_BYTES
        said = request.headers.get("content-length", "")
        length_bytes = int(said) if said.isdecimal() and len(said) < len(str(1 << 64)) else None
        if said and (length_bytes is None or length_bytes > most_bytes):
            raise RefusedError(errors.MESSAGE_TOO_BIG, "upload_too_big")
        return most_bytes if length_bytes is None else length_bytes

    async def _receive(self, request: Request, reader: Reader) -> None:
        n_bytes = 0
        try:
            async with (
                asyncio.timeout(self._settings.upload_limit_s),
                contextlib.aclosing(request.stream()) as chunks,
            ):
                async for chunk in chunks:
                    n_bytes += len(chunk)
                    if n_bytes > self._settings.most_upload_bytes + _FORM_BYTES:
                        raise RefusedError(errors.MESSAGE_TOO_BIG, "upload_too_big")
                    reader.receive(chunk)
        except TimeoutError:
            raise RefusedError(errors.REQUEST_LATE, "upload_late") from None


class RawBody:
    """A body that is the file."""

    def __init__(self, receive: Callable[[bytes], None]) -> None:
        self.receive = receive

    def finish(self) -> Form:
        return Form({}, has_file=True)


class _Held:
    """Counts the bytes that uploads may come to, in the event loop only."""

    def __init__(self, most_bytes: int) -> None:
        self._left_bytes = most_bytes

    @contextlib.contextmanager
    def taken(self, n_bytes: int) -> Iterator[None]:
        """Raises RefusedError when so much is not left."""
        if n_bytes > self._left_bytes:
            raise RefusedError(errors.OVERLOADED, "uploads_full")
        self._left_bytes -= n_bytes
        try:
            yield
        finally:
            self._left_bytes += n_bytes


class _EventStream:
    """Server-sent events, from the first words on: until then a refusal has a status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_open = False

    async def send_final(self, final: Final) -> None:
        text = transcriptions.delta(final, is_first=not self.is_open)
        await self._write(transcriptions.delta_event(text), has_more=True)

    async def end(self, shot: OneShot) -> None:
        refusal = shot.refusal
        last = (
            transcriptions.error_event(refusal)
            if refusal is not None
            else transcriptions.done_event(shot.finals)
        )
        await self._write(last, has_more=False)

    async def _write(self, event: bytes, *, has_more: bool) -> None:
        if not self.is_open:
            self.is_open = True
            headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": event, "more_body": has_more})


async def _run(run: Run, shot: OneShot, request: Request) -> None:
    """Until the session has ended, which it does when the client leaves."""

    async def watch() -> None:
        await request.receive()  # the body is read: nothing follows but the end
        shot.vanish()

    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch())
        await run(shot)
        watching.cancel()


async def _forget(sound: SoundFile | None, upload: Upload) -> None:
    def forget() -> None:
        if sound is not None:
            sound.close()
        upload.wipe()

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_FORGET_LIMIT_S):
            await asyncio.to_thread(forget)


async def _keep_quiet(_final: Final) -> None:
    """Nothing is said before the end."""


def _refused(refusal: Refusal, body: bytes, status: int) -> Response:
    headers = {"connection": "close", **dict(error_headers(refusal))}
    return Response(body, status, headers, media_type="application/json")


def _status(text: str, status: str) -> bytes:
    return msgspec.json.encode({"text": text, "status": status})
