"""Refusals a caller can act on. The class fixes the HTTP status and the Databricks error code.

    Fault                     500 INTERNAL_ERROR
    ├── Invalid               400 INVALID_PARAMETER_VALUE
    ├── BadState              400 INVALID_STATE
    ├── Malformed             400 MALFORMED_REQUEST
    ├── Unauthenticated       401 UNAUTHENTICATED
    ├── Denied                403 PERMISSION_DENIED
    ├── NotFound              404 RESOURCE_DOES_NOT_EXIST
    │   └── NoEndpoint        404 ENDPOINT_NOT_FOUND
    ├── AlreadyExists         409 RESOURCE_ALREADY_EXISTS
    ├── Conflict              409 ABORTED
    ├── TooLarge              413 RESOURCE_EXHAUSTED
    ├── UnknownEncoding       415 MALFORMED_REQUEST
    ├── Misdirected           421 MISDIRECTED_REQUEST
    ├── TooMany               429 REQUEST_LIMIT_EXCEEDED
    ├── Aborted               499 REQUEST_ABORTED (nobody is there to read it)
    ├── NotSupported          501 NOT_IMPLEMENTED
    └── Unavailable           503 TEMPORARILY_UNAVAILABLE

Anything else that is raised is a bug: it is answered 500 without its text, and logged with it. The text of a 500
never holds "Unexpected error" or "try again later": the SDK retries those for five minutes.
"""

import errno
import os


class Fault(Exception):
    """Base of all expected refusals. `details` are merged into the answer of the databricks dialect."""

    status = 500
    code = "INTERNAL_ERROR"

    def __init__(self, message: str, *, code: str | None = None, **details: object) -> None:
        super().__init__(message)
        if code:
            self.code = code
        self.details = details


class Invalid(Fault):
    status, code = 400, "INVALID_PARAMETER_VALUE"


class BadState(Fault):
    status, code = 400, "INVALID_STATE"


class Malformed(Fault):
    status, code = 400, "MALFORMED_REQUEST"


class Unauthenticated(Fault):
    status, code = 401, "UNAUTHENTICATED"


class Denied(Fault):
    status, code = 403, "PERMISSION_DENIED"


class NotFound(Fault):
    status, code = 404, "RESOURCE_DOES_NOT_EXIST"


class NoEndpoint(NotFound):
    """No such route. MLflow's client falls back to an older API on exactly this code."""

    code = "ENDPOINT_NOT_FOUND"


class AlreadyExists(Fault):
    status, code = 409, "RESOURCE_ALREADY_EXISTS"


class Conflict(Fault):
    """Somebody else changed it first, or it cannot change while in use."""

    status, code = 409, "ABORTED"


class TooLarge(Fault):
    status, code = 413, "RESOURCE_EXHAUSTED"


class UnknownEncoding(Fault):
    status, code = 415, "MALFORMED_REQUEST"


class Misdirected(Fault):
    """Nothing here answers at the host that was asked."""

    status, code = 421, "MISDIRECTED_REQUEST"


class TooMany(Fault):
    status, code = 429, "REQUEST_LIMIT_EXCEEDED"


class Aborted(Fault):
    """The client went away. On record only."""

    status, code = 499, "REQUEST_ABORTED"


class NotSupported(Fault):
    """A thing of the API that Lakewright does not enforce yet, and therefore does not accept."""

    status, code = 501, "NOT_IMPLEMENTED"


class Unavailable(Fault):
    status, code = 503, "TEMPORARILY_UNAVAILABLE"


OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}


def honest(error: Exception) -> Exception:
    """`error`, or the refusal that it is: a full or failing disk is nobody's bug, and passes."""
    if isinstance(error, OSError) and error.errno in OF_THE_DISK:
        return Unavailable(f"the disk refused: {os.strerror(error.errno or 0)}")
    return error
