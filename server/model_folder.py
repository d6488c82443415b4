"""The names of a folder's files in; which engine reads them, and which of them it needs, out.

People get models with all that their makers published beside them: the same weights for other
libraries and in other precisions, pictures, licences. In a pack each byte would be opened at every
start.
"""

from collections.abc import Iterable

import msgspec

from security.errors import SealError
from server.engines import transformers_settings, whisper_ct2

INDEX_NAME = "model.safetensors.index.json"
_SINGLE_NAME = "model.safetensors"
_WEIGHTS = ".safetensors"
_DESCRIBING = (".json", ".jinja", ".txt")
"""Ends of names of what describes a model of transformers, its tokenizer included."""


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


def engine_of(names: Iterable[str]) -> str:
    """Which engine reads a folder of these files. Raises SealError."""
    known = set(names)
    if "model.bin" in known:
        return whisper_ct2.ENGINE
    if "config.json" in known and any(name.endswith(_WEIGHTS) for name in known):
        return transformers_settings.ENGINE
    text = "the folder holds neither model.bin (CTranslate2) nor config.json with *.safetensors"
    raise SealError(text)


def needed_files(names: Iterable[str], index: bytes | None) -> set[str]:
    """`index`: the content of the file `INDEX_NAME`, if there is one. Raises SealError."""
    known = set(names)
    if engine_of(known) == whisper_ct2.ENGINE:
        return known
    weights = _shards(index) if index is not None else {_SINGLE_NAME}
    if missing := weights - known:
        raise SealError(f"the model's weights are not all there: {min(missing)} is missing")
    described = {n for n in known if n.endswith(_DESCRIBING) and "/" not in n}
    return weights | (described - {"README.txt", "LICENSE.txt"})


def _shards(index: bytes) -> set[str]:
    try:
        return set(msgspec.json.decode(index, type=_Index).weight_map.values())
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise SealError(f"{INDEX_NAME} is damaged") from None
