"""Hosts: which workspace a request is for, by the name of the host it was sent to.

`dev.localhost` is the workspace whose deployment is called dev, and only that one. The plain hosts (an IP address,
`localhost`, the base host itself) and the account's own, `accounts.localhost`, stand for the whole installation: there
a request may name its workspace in a header, else it is its token's, else the first one (on a plain host) or none.
No other name is answered to, so that a page on a foreign name that was made to point here reaches nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from lakewright.kernel.config import Settings

ACCOUNTS = "accounts"
"""The account's label under the base host; no workspace may be deployed as it."""
HEADERS = ("x-databricks-workspace-id", "x-databricks-org-id")
"""How clients say the workspace they mean."""
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_ACCOUNT_PATH = re.compile(r"/(?:api/\d\.\d|oidc)/accounts/([^/]+)")


@dataclass(frozen=True, slots=True)
class Place:
    """What a host stands for. With `fixed` it is that workspace; else only when nothing says another."""

    workspace: str
    fixed: bool


def place(host: str, settings: Settings, labels: Mapping[str, str], first: str) -> Place | None:
    """What the Host header stands for; None for a name that is not ours. `labels`: workspaces by deployment name."""
    name = name_of(host)
    base = base_host(settings)
    if name == f"{ACCOUNTS}.{base}":
        return Place("", fixed=False)
    label, _, rest = name.partition(".")
    if rest == base and label in labels:
        return Place(labels[label], fixed=True)
    return Place(first, fixed=False) if is_plain(host, settings) else None


def is_plain(host: str, settings: Settings) -> bool:
    """Whether a Host header stands for the whole installation."""
    name, public = name_of(host), urlsplit(settings.public_url).hostname
    return name in ("localhost", base_host(settings), public, settings.host.lower()) or is_address(name)


def base_host(settings: Settings) -> str:
    return (settings.base_host or urlsplit(settings.public_url).hostname or "localhost").lower()


def url_of(label: str, settings: Settings, port: int | None = None) -> str:
    """The address of a deployment, or of the account (`accounts`), as clients of this installation would write it."""
    public = urlsplit(settings.public_url)
    scheme = public.scheme or ("https" if settings.tls_certificate else "http")
    port = public.port if settings.public_url else (port or settings.port)
    return f"{scheme}://{label}.{base_host(settings)}{f':{port}' if port else ''}"


def port_of(host: str) -> int | None:
    """The port in a Host header."""
    port = host.rpartition(":")[2]
    return int(port) if ":" in host and port.isdecimal() else None


def account_in(path: str) -> str | None:
    """The account that a path names; None for a path of a workspace."""
    if "/accounts/" not in path:
        return None
    found = _ACCOUNT_PATH.match(path)
    return found.group(1) if found and found.group(1) != "servicePrincipals" else None


def name_of(host: str) -> str:
    """A Host header without its port, in lower case; empty when it is no host at all."""
    if host.startswith("["):
        name, _, port = host[1:].partition("]")
        port = port.removeprefix(":")
    else:
        name, _, port = host.partition(":")
    if (port and not port.isdecimal()) or not all(c.isalnum() or c in "-._:" for c in name):
        return ""
    return name.rstrip(".").lower()


def is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
