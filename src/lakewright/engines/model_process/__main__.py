"""Starts the process of one model: load, warm up, then listen until told to stop or forgotten.

    python -m lakewright.engines.model_process --model DIR --port N

The secret comes in LAKEWRIGHT_MODEL_SECRET. It listens only when the model has answered its own example, so a caller
that can connect can predict.
"""

import argparse
import asyncio
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

SECRET = "LAKEWRIGHT_MODEL_SECRET"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main(argv: list[str] | None = None) -> int:
    asked = _arguments(argv)
    for name in THREADS:
        # Set before numpy is imported: OpenMP threads that spin on shared cores cost ten times the prediction.
        os.environ.setdefault(name, "1")
    secret = os.environ.pop(SECRET, "")
    if not secret:
        print(f"{SECRET} is not set", file=sys.stderr)
        return 2
    warnings.filterwarnings("ignore", category=UserWarning)
    from lakewright.engines.model_process import predictor

    loaded = predictor.load(asked.model)
    _one_thread()
    loaded.warm_up()
    _run(_serve(loaded, secret, asked))
    return 0


def _one_thread() -> None:
    """Libraries loaded before this process was forked have read the environment already; they are told directly."""
    try:
        from threadpoolctl import threadpool_limits  # pyright: ignore[reportMissingTypeStubs]
    except ImportError:
        return
    threadpool_limits(1)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="model_process")
    parser.add_argument("--model", type=Path, required=True, help="an MLflow model directory")
    parser.add_argument("--port", type=int, required=True, help="loopback port to listen on")
    parser.add_argument("--linger", type=float, default=600.0, help="stop after so many seconds without a request")
    return parser.parse_args(argv)


def _run(serving: Any) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(serving)
    else:
        uvloop.run(serving)


async def _serve(loaded: Any, secret: str, asked: argparse.Namespace) -> None:
    from lakewright.engines.model_process.batching import Batcher
    from lakewright.engines.model_process.wire import Connection, Door

    loop = asyncio.get_running_loop()
    door = Door(loaded, Batcher(loaded.answer), secret)
    server = await loop.create_server(lambda: Connection(door), "127.0.0.1", asked.port, backlog=256)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    print("ready", flush=True)
    await _until_stopped_or_forgotten(door, stopped, asked.linger)
    server.close()


async def _until_stopped_or_forgotten(door: Any, stopped: asyncio.Event, linger: float) -> None:
    """A control plane that died and never came back must not leave models behind for ever."""
    loop = asyncio.get_running_loop()
    while loop.time() - door.asked_at < linger:
        try:
            await asyncio.wait_for(stopped.wait(), timeout=min(5.0, linger))
            return
        except TimeoutError:
            continue


if __name__ == "__main__":
    sys.exit(main())
