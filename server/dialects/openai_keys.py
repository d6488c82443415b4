"""What came with an ephemeral key in, what its session is to be out.

OpenAI's clients say what they wish when they ask for a key for a page, and the page then says
nothing. A key is a ticket, which knows nothing of that; so it is kept here, by the key's hash,
until the key is used or over. There are no more of them than there may be tickets: the oldest goes.
"""

from collections import OrderedDict
from dataclasses import dataclass

from server.dialects.openai_realtime_settings import Wishes
from server.dialects.values import Upgrade
from server.text_hash import hash_of

KEY_PREFIX = "openai-insecure-api-key."
"""Of the subprotocol in which a page brings it."""
_SCHEME = "bearer "
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Kept:
    """What came with one."""

    wishes: Wishes
    ends_s: float
    """Unix time from which on the key is over."""


class EphemeralKeys:
    """Of one process; used from the event loop only."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()

    def keep(self, key: str, kept: Kept, wall_s: float) -> None:
        """Until it is taken."""
        for name in [name for name, each in self._kept.items() if each.ends_s <= wall_s]:
            del self._kept[name]
        while len(self._kept) >= self._most:
            self._kept.popitem(last=False)
        self._kept[hash_of(key)] = kept

    def take(self, upgrade: Upgrade) -> Kept | None:
        """What came with the key that is shown, once; None: nothing did."""
        for key in keys_shown(upgrade):
            kept = self._kept.pop(hash_of(key), None)
            if kept is not None:
                return kept
        return None


def keys_shown(upgrade: Upgrade) -> list[str]:
    """As a header, or as a page does."""
    authorized = upgrade.header("authorization") or ""
    is_bearer = authorized[: len(_SCHEME)].casefold() == _SCHEME
    header = [authorized[len(_SCHEME) :].strip()] if is_bearer else []
    return header + in_subprotocols(upgrade)


def in_subprotocols(upgrade: Upgrade) -> list[str]:
    """As a page does."""
    return [
        offered.removeprefix(KEY_PREFIX)
        for offered in upgrade.subprotocols
        if offered.startswith(KEY_PREFIX)
    ]
