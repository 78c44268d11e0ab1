"""What the OAuth endpoints refuse with (RFC 6749 §5.2)."""

from lakewright.kernel.faults import Fault


class OAuthError(Fault):
    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message, code=code)
        self.status = status


def invalid_client() -> OAuthError:
    """One answer for an unknown client, a wrong secret and a deactivated machine."""
    return OAuthError("invalid_client", "Client authentication failed", status=401)


def invalid_grant() -> OAuthError:
    """One answer for a code, token or assertion that is unknown, used, expired, revoked or somebody else's."""
    return OAuthError("invalid_grant", "it is not valid, or no longer")
