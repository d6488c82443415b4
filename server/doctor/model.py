"""Settings in; whether the pack opens, by how many keys, and whether its device is there, out.

The pack is opened as far as its names: signature, version, listing and lengths, one key slot. With
`is_full` every byte is verified as well. No weight is kept, and nothing goes on record: only a
server that opens a pack does.
"""

from collections.abc import Callable
from importlib.util import find_spec

from security.errors import KekError, KeyFileError, PackError, SealError
from security.rotation import slots_of
from security.weights import PackCard, inspect_pack, verify_pack
from server.config import Settings
from server.doctor.finding import Finding, bad, ok, sentence_of, warn
from server.engines import transformers_settings
from server.packs import existing_pack, pack_trust, published_trust
from server.start_error import StartError

_REFUSED = "run.py seal verify puts the reason on record; run.py audit list shows it."
_FAULTS = (PackError, KekError, KeyFileError, SealError, StartError)


def check_pack(settings: Settings, *, is_full: bool) -> tuple[Finding, PackCard | None]:
    """Whether it opens; and what it is, if it does."""
    check, about = "pack", str(settings.pack_folder)
    try:
        with pack_trust(settings) as trust:
            card = (verify_pack if is_full else inspect_pack)(existing_pack(settings), trust)
    except _FAULTS as fault:
        return bad(check, sentence_of(fault), _REFUSED, about), None
    text = "every byte is as it was sealed." if is_full else "it opens; --full reads all of it."
    return ok(check, text, about), card


def check_slots(settings: Settings) -> Finding:
    """Whether the loss of one key would be the loss of the model."""
    check, about = "key slots", str(settings.pack_folder)
    try:
        count = len(slots_of(existing_pack(settings), published_trust(settings)))
    except _FAULTS as fault:
        return bad(check, sentence_of(fault), _REFUSED, about)
    if count == 1:
        remedy = "run.py keys add, with a key that is kept elsewhere."
        return warn(check, "one key opens it: if that is lost, so is the model.", remedy, about)
    return ok(check, "more than one key opens it.", about)


def check_device(
    engine: str, device: str, has_cuda: Callable[[], bool], has_torch: bool | None = None
) -> Finding:
    """Whether what the model is to run on is there; `has_cuda` is asked only if torch is."""
    check = "device"
    if engine != transformers_settings.ENGINE:
        return ok(check, "the model runs on the processor.")
    if not (find_spec("torch") is not None if has_torch is None else has_torch):
        remedy = "pip install '.[server,gpu]'."
        return bad(check, "the model needs torch, which is not installed.", remedy)
    if device == "cpu":
        return ok(check, "the model runs on the processor, as the settings say.")
    if has_cuda():
        return ok(check, "there is a GPU for the model.")
    if device == "cuda":
        remedy = "mend the driver, or set transformers.device to cpu."
        return bad(check, "the settings ask for CUDA, and there is none.", remedy)
    remedy = "mend the driver, or set transformers.device to cpu if that is meant."
    return warn(check, "there is no GPU: the model runs on the processor, slowly.", remedy)


def has_cuda() -> bool:  # pragma: no cover - needs torch, and seconds to import it
    """Whether torch finds a GPU."""
    import torch

    return bool(torch.cuda.is_available())
