"""The platform on a socket: what is refused before listening, and the server itself."""

import threading
import time

import uvicorn
from starlette.types import ASGIApp

from lakewright.kernel.config import Settings
from lakewright.kernel.front import is_loopback
from lakewright.kernel.protocol import Protocol


def check_exposure(settings: Settings) -> None:
    """Refuse a public address without TLS. Raises ValueError saying what to do."""
    if settings.tls_certificate and not settings.tls_key:
        raise ValueError("tls_certificate is set without tls_key")
    if is_loopback(settings.host) or settings.tls_certificate or settings.insecure_public:
        return
    raise ValueError(
        f"refusing to listen on {settings.host} without TLS: set LAKEWRIGHT_TLS_CERTIFICATE and LAKEWRIGHT_TLS_KEY, or"
        " LAKEWRIGHT_INSECURE_PUBLIC=true when a proxy in front of it ends TLS"
    )


def configured(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app, host=settings.host, port=settings.port, http=Protocol.within(settings.http), loop="auto", log_level="warning", access_log=False,
        server_header=False, date_header=True, proxy_headers=False, timeout_keep_alive=settings.http.idle_seconds,
        limit_concurrency=settings.http.connections,
        ssl_certfile=settings.tls_certificate, ssl_keyfile=settings.tls_key,
        timeout_graceful_shutdown=10, ws="websockets-sansio" if _has_websockets() else "none",
    )  # fmt: skip


def _has_websockets() -> bool:
    from importlib.util import find_spec

    return find_spec("websockets") is not None


class Server:
    """A server in a thread of this process: tests, and tools that embed the platform."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        check_exposure(settings)
        self._server = uvicorn.Server(configured(app, settings))
        self._thread = threading.Thread(target=self._server.run, daemon=True, name="server")

    def start(self) -> str:
        """Listen; the URL."""
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the server stopped while starting; its log says why")
            time.sleep(0.005)
        host, port = self._server.servers[0].sockets[0].getsockname()[:2]
        return f"{'https' if self._server.config.is_ssl else 'http'}://{host}:{port}"

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=15)
