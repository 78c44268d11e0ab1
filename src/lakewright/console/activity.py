"""Activity: when a session was last used, so that one that is left alone ends by itself.

What a person does counts: opening a page, pressing a button. The heartbeats of an open tab do not. Last uses are kept
in memory and written down once a minute, which is as exactly as other nodes and a restart know them.
"""

from collections import OrderedDict

from lakewright.kernel.platform import Platform
from lakewright.kernel.writer import Turn

WRITTEN_EVERY = 60_000
LARGEST = 10_000


class Activity:
    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._used: OrderedDict[str, int] = OrderedDict()
        self._written: OrderedDict[str, int] = OrderedDict()

    def idle(self, session_id: str) -> bool:
        """Whether it has been left alone for too long, here and on every node."""
        longest = self._platform.settings.signin.idle_minutes * 60_000
        now = self._platform.clock.now()
        if now - self._used.get(session_id, 0) <= longest:
            return False
        return now - self._recorded(session_id) > longest

    async def used(self, session_id: str) -> None:
        now = self._platform.clock.now()
        _keep(self._used, session_id, now)
        if now - self._written.get(session_id, 0) >= WRITTEN_EVERY:
            _keep(self._written, session_id, now)
            await self._platform.writer.submit_async(lambda turn: _write(turn, session_id, now))

    def _recorded(self, session_id: str) -> int:
        with self._platform.store.snapshot() as tx:
            row = tx.one("SELECT created_at, used_at FROM tokens WHERE id = ?", session_id)
        return 0 if row is None else int(row["used_at"] or row["created_at"])


def _write(turn: Turn, session_id: str, at: int) -> None:
    turn.tx.run("UPDATE tokens SET used_at = ? WHERE id = ?", at, session_id)


def _keep(times: OrderedDict[str, int], session_id: str, at: int) -> None:
    times[session_id] = at
    times.move_to_end(session_id)
    while len(times) > LARGEST:
        times.popitem(last=False)
