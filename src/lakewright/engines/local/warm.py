"""What a zygote has found out about its machine before it imports anything; its tasks inherit it with the fork."""

from __future__ import annotations

import os

from lakewright.engines.local import confine
from lakewright.engines.processes import Isolation

own_shared_memory = False
"""Whether tasks get a /dev/shm of their own, and with it semaphores: thread pools and process pools."""


def look_around() -> None:
    global own_shared_memory
    own_shared_memory = confine.can_own_shared_memory()
    if not own_shared_memory and confine.offer().isolation is Isolation.CONFINED:
        # joblib decides at its import whether it can work in parallel at all; failing in the middle of a task is worse.
        os.environ["JOBLIB_MULTIPROCESSING"] = "0"
