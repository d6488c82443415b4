"""Who was refused in; a row of the trail out, or one for many of the same kind."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from security.door_events import HandshakeRefused, HandshakeRefusedOften
from server import errors
from server.errors import RefusedError
from server.figures import Figures
from server.grant import Grant
from server.recorder import Recorder
from server.refusals import RefusalSettings, Tally
from server.session_values import Caller

_LOOK_S = 1.0
_HASTE_LIMIT_S = 0.05


class RefusalRecord:
    """Of one server."""

    def __init__(
        self,
        settings: RefusalSettings,
        trail: Recorder,
        figures: Figures,
        wall_clock: Callable[[], float],
    ) -> None:
        self._tally = Tally(settings)
        self._trail = trail
        self._figures = figures
        self._wall_clock = wall_clock

    async def run(self) -> None:
        """Write what was counted when its minute is over, until it is cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            await self._write(self._tally.due(time.monotonic()))

    async def flush(self) -> None:
        """Write what was counted and has no row yet."""
        await self._write(self._tally.flush())

    async def record(self, refused: RefusedError, caller: Caller, grant: Grant | None) -> None:
        """Of somebody, who may have shown a good token for something else."""
        self._figures.receive_refusal(refused.refusal)
        wall_ns = int(self._wall_clock() * 1e9)
        event = HandshakeRefused(
            **caller.shown,
            http_status=refused.refusal.http_status,
            reason=refused.reason,
            subject=grant.subject if grant else None,
            issuer=grant.issuer if grant else None,
            token_id=grant.token_id if grant else None,
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience_s(refused)):
                await self._write(self._tally.receive(event, time.monotonic(), wall_ns))

    @staticmethod
    def _patience_s(refused: RefusedError) -> float | None:
        """Who was kept waiting for the trail once is not kept waiting for it again."""
        return _HASTE_LIMIT_S if refused.refusal is errors.TRAIL_UNAVAILABLE else None

    async def _write(self, events: Sequence[HandshakeRefused | HandshakeRefusedOften]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for event in events:
                tasks.create_task(self._trail.note(event))
