"""The address of an issuer's keys in; the keys it published last, kept fresh, out.

An issuer rotates its keys and is sometimes down. So the keys are fetched every few minutes, an
answer stays good for a day when no other comes, and a token that names an unknown key is worth one
look at the address, not more than one in half a minute, whoever sends such tokens. All looks are
made by `run`, so that a client who hangs up does not end the one that others wait for.

An answer that holds no usable key changes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom

import structlog

from security.errors import AnswerError, TokenKeyError
from security.outgoing import Way, ask
from security.token_keys import Algorithm, KeySet, TokenKey, decode_jwks

_log = structlog.get_logger()
REFRESH_S = 300.0
RETRY_S = 30.0
"""After a fetch that failed; also the least time between two for unknown keys."""
STALE_S = 24 * 3600.0
FETCH_LIMIT_S = 5.0
MAX_BYTES = 256 * 1024
_WAIT_LIMIT_S = 2 * FETCH_LIMIT_S
_JITTER = 0.1
Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]
Fetch = Callable[[], Awaitable[bytes]]
"""Raises TokenKeyError."""


@dataclass(frozen=True, slots=True)
class JwksAddress:
    """Where to fetch, and by which way."""

    url: str
    """https, but on this machine."""
    ca_file: Path | None = None
    """Whom to trust for https instead of the system's authorities."""
    proxy: str | None = None

    async def fetch(self) -> bytes:
        """The document. Raises TokenKeyError."""
        way = Way(FETCH_LIMIT_S, MAX_BYTES, self.ca_file, self.proxy)
        try:
            return await ask(self.url, way)
        except AnswerError as fault:
            raise TokenKeyError(f"the keys: {fault}") from None


class JwksCache:
    """The keys of one issuer who publishes them."""

    def __init__(
        self, issuer: str, algorithm: Algorithm, fetch: Fetch, clock: Clock, sleep: Sleep
    ) -> None:
        """`clock` is monotonic; `issuer` is for the log."""
        self._issuer, self._algorithm, self._fetch = issuer, algorithm, fetch
        self._clock, self._sleep = clock, sleep
        self._keys = KeySet()
        self._fetched_s = self._next_demand_s = float("-inf")
        self._is_looking = self._is_failing = False
        self._one_look = asyncio.Lock()
        self._wanted, self._looked = asyncio.Event(), asyncio.Event()
        self._random = SystemRandom()

    @property
    def age_s(self) -> float:
        """Since the keys were fetched; infinite before the first time."""
        return self._clock() - self._fetched_s

    @property
    def is_failing(self) -> bool:
        """Whether the last look has brought nothing, or there was none yet."""
        return self._is_failing or self.age_s > STALE_S

    def find(self, key_id: str | None, wall_s: float) -> TokenKey | None:
        """See `VerifyingKeys`."""
        return self._keys.find(key_id, wall_s) if self.age_s <= STALE_S else None

    async def run(self) -> None:
        """Keep the keys fresh until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._refresh_regularly())
            tasks.create_task(self._refresh_on_demand())

    async def refresh_for_unknown_key(self) -> None:
        """Returns when the keys are as fresh as they may be; at once if they were just fetched."""
        if not self._is_looking and not self._wanted.is_set():
            if self._clock() < self._next_demand_s:
                return
            self._next_demand_s = self._clock() + RETRY_S
            self._wanted.set()
        looked = self._looked
        with suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_LIMIT_S):
                await looked.wait()

    async def refresh(self) -> None:
        """Fetch the keys now. For a command; a server has `run` do it."""
        async with self._one_look:
            self._is_looking = True
            try:
                self._keys = decode_jwks(await self._fetch(), self._algorithm)
                self._fetched_s = self._clock()
                self._tell(None)
            except TokenKeyError as fault:
                self._tell(fault)
            finally:
                self._is_looking = False
                looked, self._looked = self._looked, asyncio.Event()
                looked.set()

    async def _refresh_regularly(self) -> None:
        while True:
            await self.refresh()
            pause_s = RETRY_S if self._is_failing else REFRESH_S
            await self._sleep(pause_s * self._random.uniform(1 - _JITTER, 1 + _JITTER))

    async def _refresh_on_demand(self) -> None:
        while True:
            await self._wanted.wait()
            await self.refresh()
            self._wanted.clear()

    def _tell(self, fault: TokenKeyError | None) -> None:
        """Once when it begins to fail, and once when it is well again."""
        if fault is not None and not self._is_failing:
            _log.warning(
                "the keys of an issuer cannot be fetched; those at hand stay in use for a day",
                issuer=self._issuer,
                fault=str(fault),
            )
        if fault is None and self._is_failing:
            _log.info("the keys of an issuer are fetched again", issuer=self._issuer)
        self._is_failing = fault is not None
