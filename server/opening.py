"""Settings and the trail in, an engine with its model out: the one way from a pack to a recogniser.

The trail knows of a model before anybody can use it, and of a refusal before anybody is told. The
version that was opened is remembered, so that an older one is refused from then on; only an
administrator who says so at each start gets it opened, which is on record too. A pack that an
engine has copied is wiped; one that it works on is wiped when the engine goes. Which engine it is,
the pack says, and torch is not imported before one says so.
"""

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

from security.accepted import read_accepted, write_accepted
from security.audit_events import ModelOpened, ModelRefused, OlderModelAllowed
from security.audit_store import AuditStore
from security.errors import KekError, KeyFileError, PackError, SealError
from security.pack_folder import PackTrust
from security.weights import OnProgress, OpenedPack, PackCard, Places, open_pack
from server.config import Settings
from server.engines import transformers_settings, whisper_ct2
from server.engines.transformers_settings import TransformersSettings
from server.engines.whisper_ct2 import WhisperCt2
from server.packs import existing_pack, pack_trust
from server.recognition import EngineSettingError, ModelError, Recognizer
from server.start_error import (
    EXIT_DATA,
    EXIT_KEYS,
    EXIT_MODEL,
    EXIT_SETTINGS,
    StartError,
)

if TYPE_CHECKING:
    from server.engines.tensors import Content
    from server.engines.transformers_opening import WeightPlaces

_Loaded = TypeVar("_Loaded")
_TORCH = ("torch", "transformers")


@dataclass(frozen=True, slots=True)
class Opening:
    """How the model is opened this time."""

    is_older_allowed: bool = False
    """An administrator allows a version older than one that was opened before."""
    on_progress: OnProgress | None = None


async def open_engine(settings: Settings, store: AuditStore, opening: Opening) -> Recognizer:
    """Raises StartError."""
    try:
        with pack_trust(settings, is_older_allowed=opening.is_older_allowed) as trust:
            return await _Opener(settings, store, trust, opening.on_progress).open_engine()
    except (KeyFileError, KekError) as error:
        raise StartError(str(error), EXIT_KEYS) from None
    except EngineSettingError as error:
        raise StartError(str(error), EXIT_SETTINGS) from None
    except SealError as error:
        raise StartError(str(error), EXIT_DATA) from None


class _Opener:
    """Opens the packs that the settings name."""

    def __init__(
        self,
        settings: Settings,
        store: AuditStore,
        trust: PackTrust,
        on_progress: OnProgress | None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._trust = trust
        self._on_progress = on_progress

    async def open_engine(self) -> Recognizer:
        """The engine, with all that it works on."""
        settings = self._settings.transformers
        with ExitStack() as wiping:
            pack, files = await self._open(self._settings.model, wiping)
            model_id = pack.card.model_id
            if pack.card.engine == whisper_ct2.ENGINE:
                whisper = self._settings.whisper
                return _of_pack(
                    await self._load(pack, lambda: WhisperCt2(model_id, pack.files, whisper)), pack
                )
            from server.engines import transformers_opening

            aligner = None
            if settings.aligner is not None:
                aligning, weights = await self._open(settings.aligner, wiping)
                aligner = await self._load(
                    aligning, lambda: transformers_opening.open_aligner(weights, settings)
                )
            engine = await self._load(
                pack,
                lambda: transformers_opening.open_engine(model_id, files, settings, aligner),
            )
            weakref.finalize(engine, wiping.pop_all().close).atexit = False
            return _of_pack(engine, pack)

    async def _open(
        self, name: str, wiping: ExitStack
    ) -> tuple[OpenedPack, "Mapping[str, Content]"]:
        """A pack, which `wiping` wipes, and its files, wherever they were opened to."""
        weights: list[WeightPlaces] = []
        existing_pack(self._settings.model_copy(update={"model": name}))
        folder, trust = self._settings.models_folder / name, replace(self._trust, model_id=name)

        def prepare(card: PackCard) -> Places:
            if card.engine == whisper_ct2.ENGINE:
                return {}
            weights.append(_weight_places(card, self._settings.transformers))
            return weights[0].places(card.sizes)

        async with self._refusals(name):
            pack = await asyncio.to_thread(open_pack, folder, trust, self._on_progress, prepare)
        wiping.callback(pack.wipe)
        if not weights:
            return pack, pack.files
        wiping.callback(weights[0].wipe)
        return pack, weights[0].files(pack.files)

    async def _load(self, pack: OpenedPack, load: Callable[[], _Loaded]) -> _Loaded:
        """What is made of a pack, on record."""
        async with self._refusals(pack.card.model_id):
            loaded = await asyncio.to_thread(load)
        await _accept(self._settings, self._store, pack.card)
        return loaded

    @asynccontextmanager
    async def _refusals(self, name: str) -> AsyncIterator[None]:
        """On record, and as people are told."""
        folder = self._settings.models_folder / name
        try:
            yield
        except PackError as error:
            await self._store.record(ModelRefused(name, error.reason))
            raise StartError(f"{folder}: {error}", EXIT_MODEL) from None
        except ModelError as error:
            await self._store.record(ModelRefused(name, "not_a_model"))
            raise StartError(f"{folder}: {error}", EXIT_MODEL) from None


def _of_pack(engine: Recognizer, pack: OpenedPack) -> Recognizer:
    """With the pack's names, for the trail's rows of sessions."""
    card = pack.card
    engine.card = replace(engine.card, pack_version=card.version, kek=card.kek_id)
    return engine


def _weight_places(card: PackCard, settings: TransformersSettings) -> "WeightPlaces":
    """Raises ModelError and EngineSettingError."""
    if card.engine != transformers_settings.ENGINE:
        raise ModelError(f"the pack is for the engine {card.engine}, which is not known here")
    if not all(map(find_spec, _TORCH)):
        raise EngineSettingError(f"{card.model_id} needs torch: pip install '.[server,gpu]'")
    from server.engines.transformers_opening import WeightPlaces

    return WeightPlaces(settings)


async def _accept(settings: Settings, store: AuditStore, card: PackCard) -> None:
    """On record first, then remembered as the oldest version that opens."""
    former_version = read_accepted(settings.accepted_file).get(card.model_id, 0)
    if card.version < former_version:
        await store.record(OlderModelAllowed(card.model_id, card.version, former_version))
    await store.record(ModelOpened(card.model_id, card.version, card.publisher, card.kek_id))
    if card.version > former_version:
        write_accepted(settings.accepted_file, card.model_id, card.version)
