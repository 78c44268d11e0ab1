"""What is settled before a request means anything: whom it was meant for, and where it came from.

A page of a foreign site can make a browser resolve the site's own name to 127.0.0.1 and so talk to a server on the
loopback as if it were that site (DNS rebinding). The Host header then names the site; a name that is not ours reaches
nothing, neither an operation nor the console.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from lakewright.kernel import hosts
from lakewright.kernel.config import Settings
from lakewright.kernel.faults import Fault, Malformed, Misdirected
from lakewright.kernel.hosts import is_address, name_of

Headers = Sequence[tuple[bytes, bytes]]

ONCE = (b"authorization", b"content-type", b"content-encoding", b"content-length", b"host", b"origin", b"range")
"""Headers that would mean two things if they came twice."""
_REMEMBERED = 1000


@dataclass(frozen=True)
class Came:
    """Where a request came from and what it called us, once it is clear whose word counts."""

    source: str
    host: str
    scheme: str


class Front:
    def __init__(self, settings: Settings) -> None:
        public = urlsplit(settings.public_url).hostname
        self._names = {"localhost", settings.host.lower(), hosts.base_host(settings), *([public] if public else [])}
        self._proxies = [ip_network(each, strict=False) for each in settings.http.trusted_proxies]
        self._ours: set[bytes] = set()
        self.behind_proxies = bool(self._proxies)

    def refuses(self, headers: Headers, http_version: str) -> Fault | None:
        """Why a request is not for this server, or cannot say for which; None when it is."""
        named = [value for name, value in headers if name == b"host"]
        if len(named) == 1 and named[0] in self._ours:
            return None
        if not named and http_version == "1.0":
            return None
        if len(named) != 1:
            return Malformed("a request has one Host header")
        if not self._is_ours(name_of(named[0].decode("latin-1"))):
            return Misdirected("this server has no such name; the settings public_url and base_host say which it has")
        if len(self._ours) < _REMEMBERED:
            self._ours.add(named[0])
        return None

    def _is_ours(self, name: str) -> bool:
        """An address is nobody's name; else one of ours, or below it, where the workspaces are: which there are, the
        deciding transaction knows."""
        if not name:
            return False
        return is_address(name) or any(name == ours or name.endswith(f".{ours}") for ours in self._names)

    def forwarded(self, peer: str, scheme: str, headers: Mapping[str, str]) -> Came:
        """From a trusted proxy: the nearest address in X-Forwarded-For that is not itself a trusted proxy. From
        anybody else: what the connection says, whatever the headers claim."""
        host = headers.get("host", "")
        if not self._trusts(peer):
            return Came(peer, host, scheme)
        source = peer
        for hop in reversed(headers.get("x-forwarded-for", "").split(",")):
            if not is_address(hop.strip()):
                break
            source = hop.strip()
            if not self._trusts(source):
                break
        said = headers.get("x-forwarded-proto", "").strip().lower()
        return Came(
            source, headers.get("x-forwarded-host", host).strip(), said if said in ("http", "https") else scheme
        )

    def _trusts(self, peer: str) -> bool:
        return is_address(peer) and any(ip_address(peer) in network for network in self._proxies)


def twice(headers: Headers) -> Fault | None:
    """Whether a header came twice that may come once."""
    names = [name for name, _ in headers]
    for name in ONCE:
        if names.count(name) > 1:
            return Malformed(f"the header {name.decode()} is given twice")
    return None


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return is_address(host) and ip_address(host).is_loopback
