"""Tokens and addresses in, whether the two were seen together a while ago out.

A page that asks every second who it is would fill the trail; what is worth a row is that a token is
used, and from where. How many are remembered has a bound: beyond it the oldest are told once more.
Knows no clock but the one handed in.
"""

KNOWN_S = 15 * 60.0


class Familiar:
    """What was seen; used from the event loop only."""

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._told_s: dict[tuple[str, ...], float] = {}
        """Oldest first."""

    def is_new(self, key: tuple[str, ...], now_s: float) -> bool:
        """Whether it is to be told, which it then is."""
        told_s = self._told_s.get(key)
        if told_s is not None and now_s - told_s < KNOWN_S:
            return False
        self._told_s.pop(key, None)  # so that it is the newest
        self._told_s[key] = now_s
        if len(self._told_s) > self._most:
            del self._told_s[next(iter(self._told_s))]
        return True
