"""Requests to Deepgram's API for files in; how `rest` reads and answers them out.

The body is the file, and the query says what is wished. The address of a file is refused: this
server fetches nothing. So are options that change what comes back and are not done here, before a
byte of the body is read.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from starlette.requests import Request
from starlette.responses import Response

from server import errors
from server.client_apis import new_id
from server.client_routes import read_key, response_of
from server.client_settings import ClientSettings
from server.dialects.deepgram_errors import declined, refused
from server.dialects.deepgram_files import HeardChannel, HeardFile, answer
from server.dialects.deepgram_options import FileOptions, OptionError, file_options
from server.door import Knock, Ticket, Token
from server.errors import Refusal, RefusedError
from server.oneshot import OneShot
from server.recognition import ModelCard
from server.rest import Dialect, RawBody
from server.transcriptions import FieldError, Options, joined_text
from server.upload import Upload
from server.visitor import upgrade_of

PATH = "/v1/listen"
_JSON = "application/json"
_NOTHING_IS_FETCHED = replace(
    errors.BAD_REQUEST, text="This server fetches nothing: send the file itself, not its address."
)


@dataclass(frozen=True, slots=True)
class PrerecordedStages:
    """What is the same for all files."""

    model: ModelCard
    wall_clock: Callable[[], float]
    token_in_address: bool


def prerecorded(
    settings: ClientSettings, model: ModelCard, wall_clock: Callable[[], float]
) -> Mapping[str, Callable[[Request], Dialect]]:
    """How each request is read and answered, by the path, if it is wished."""
    stages = PrerecordedStages(model, wall_clock, settings.token_in_address)
    return {PATH: lambda request: _Exchange(stages, request).dialect} if settings.deepgram else {}


class _Exchange:
    """One request."""

    def __init__(self, stages: PrerecordedStages, request: Request) -> None:
        self._stages = stages
        self._request = request
        self._request_id = new_id()
        self._sha256 = hashlib.sha256()
        self._options: FileOptions | None = None
        self.dialect = Dialect(
            new_reader=self._new_reader,
            options=lambda _form: self._heard_as,
            answer=self._answer,
            refuse=self._refuse,
            read=self._read,
            headers={"dg-request-id": self._request_id},
        )

    @property
    def _file_options(self) -> FileOptions:
        """Raises FieldError."""
        if self._options is None:
            query = self._request.query_params.multi_items()
            try:
                self._options = file_options(query, self._stages.model.languages)
            except OptionError as error:
                raise FieldError(error.name, error.text) from None
        return self._options

    @property
    def _heard_as(self) -> Options:
        hearing = self._file_options.hearing
        return Options(
            response_format="json",
            language=hearing.language,
            context=hearing.context,
            has_words=True,
            has_segments=False,
            is_streamed=False,
            hears_apart=self._file_options.is_multichannel,
        )

    def _read(self, _knock: Knock) -> Token | Ticket:
        upgrade = upgrade_of(self._request)
        return read_key(upgrade, (), token_in_address=self._stages.token_in_address)

    def _new_reader(self, request: Request, upload: Upload) -> RawBody:
        """Raises RefusedError."""
        if request.headers.get("content-type", "").casefold().startswith(_JSON):
            raise RefusedError(_NOTHING_IS_FETCHED, "address_of_a_file")
        _ = self._file_options

        def receive(chunk: bytes) -> None:
            upload.append(chunk)
            self._sha256.update(chunk)

        return RawBody(receive)

    def _answer(self, _options: Options, shot: OneShot) -> tuple[bytes, str]:
        heard = HeardFile(
            request_id=self._request_id,
            model=self._stages.model,
            sha256=self._sha256.hexdigest(),
            wall_s=self._stages.wall_clock(),
            audio_ms=shot.audio_ms,
        )
        by_channel = [
            [final for final in shot.finals if final.channel == channel]
            for channel in range(shot.channels)
        ]
        spoken = [HeardChannel(finals, joined_text(finals)) for finals in by_channel]
        return answer(heard, self._file_options, spoken), _JSON

    def _refuse(self, refusal: Refusal, option: str | None) -> Response:
        answered = (
            declined(refusal.text, self._request_id)
            if option is not None
            else refused(refusal, self._request_id)
        )
        response = response_of(answered)
        response.headers["connection"] = "close"  # nobody reads the rest of the body
        return response
