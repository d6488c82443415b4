"""Settings and the trail in, an engine with its model out: the one way from a pack to a recogniser.

The trail knows of a model before anybody can use it, and of a refusal before anybody is told. The
version that was opened is remembered, so that an older one is refused from then on; only an
administrator who says so at each start gets it opened, which is on record too.
"""

import asyncio
from dataclasses import dataclass

from security.accepted import read_accepted, write_accepted
from security.audit import ModelOpened, ModelRefused, OlderModelAllowed
from security.audit_store import AuditStore
from security.errors import KekError, KeyFileError, PackError, SealError
from security.weights import OnProgress, PackCard, open_pack
from server.config import Settings
from server.engines.whisper_ct2 import ENGINE, WhisperCt2
from server.packs import pack_trust
from server.recognition import EngineSettingError, ModelError
from server.start_error import (
    EXIT_DATA,
    EXIT_KEYS,
    EXIT_MODEL,
    EXIT_SETTINGS,
    StartError,
)


@dataclass(frozen=True, slots=True)
class Opening:
    """How the model is opened this time."""

    is_older_allowed: bool = False
    """An administrator allows a version older than one that was opened before."""
    on_progress: OnProgress | None = None


async def open_engine(settings: Settings, store: AuditStore, opening: Opening) -> WhisperCt2:
    try:
        with pack_trust(settings, is_older_allowed=opening.is_older_allowed) as trust:
            pack = await asyncio.to_thread(
                open_pack, settings.pack_folder, trust, opening.on_progress
            )
        with pack:
            if pack.card.engine != ENGINE:
                raise ModelError(f"the pack is for the engine {pack.card.engine}, not {ENGINE}")
            engine = await asyncio.to_thread(
                WhisperCt2, pack.card.model_id, pack.files, settings.whisper
            )
            await _accept(settings, store, pack.card)
            return engine
    except (KeyFileError, KekError) as error:
        raise StartError(str(error), EXIT_KEYS) from None
    except PackError as error:
        await store.record(ModelRefused(settings.pack_folder.name, error.reason))
        text = f"{settings.pack_folder}: {error}"
        raise StartError(text, EXIT_MODEL) from None
    except EngineSettingError as error:
        raise StartError(str(error), EXIT_SETTINGS) from None
    except ModelError as error:
        await store.record(ModelRefused(settings.pack_folder.name, "not_a_model"))
        raise StartError(f"{settings.pack_folder}: {error}", EXIT_MODEL) from None
    except SealError as error:
        raise StartError(str(error), EXIT_DATA) from None


async def _accept(settings: Settings, store: AuditStore, card: PackCard) -> None:
    """On record first, then remembered as the oldest version that opens."""
    former_version = read_accepted(settings.accepted_file).get(card.model_id, 0)
    if card.version < former_version:
        await store.record(OlderModelAllowed(card.model_id, card.version, former_version))
    await store.record(ModelOpened(card.model_id, card.version, card.publisher, card.kek_id))
    if card.version > former_version:
        write_accepted(settings.accepted_file, card.model_id, card.version)
