"""The console's cookies: what they are called and how they are set.

Over TLS their names begin with `__Host-`, so that no other host of the domain can plant one (RFC 6265bis). The session
is `SameSite=Strict`: no other site's page can make the browser bring it. The note of a sign-in under way has to survive
the way back from the provider and is `Lax`.
"""

from http.cookies import CookieError, SimpleCookie

from starlette.responses import Response
from starlette.types import Scope

from lakewright.kernel.config import Settings

SESSION = "lakewright_session"
UNDER_WAY = "lakewright_signing_in"


def secure(settings: Settings) -> bool:
    """Whether browsers reach this server over TLS, its own or a proxy's."""
    return settings.tls_certificate is not None or settings.public_url.startswith("https://")


def called(settings: Settings, name: str) -> str:
    return f"__Host-{name}" if secure(settings) else name


def read(settings: Settings, scope: Scope, name: str) -> str:
    """The cookie's value; empty when there is none, or more than one."""
    found: list[str] = []
    for header, value in scope["headers"]:
        if header == b"cookie":
            try:
                jar = SimpleCookie(value.decode("latin-1"))
            except CookieError:
                return ""
            if value.decode("latin-1").count(f"{called(settings, name)}=") > 1:
                return ""
            found += [morsel.value for key, morsel in jar.items() if key == called(settings, name)]
    return found[0] if len(found) == 1 else ""


def put(settings: Settings, response: Response, name: str, value: str, *, seconds: int, strict: bool = True) -> None:
    response.set_cookie(
        called(settings, name), value, max_age=seconds, path="/", httponly=True, secure=secure(settings),
        samesite="strict" if strict else "lax",
    )  # fmt: skip


def drop(settings: Settings, response: Response, name: str) -> None:
    response.delete_cookie(called(settings, name), path="/", httponly=True, secure=secure(settings))
