"""Fetching what an identity provider publishes: small JSON documents, from the outside only.

The address is resolved once, every address it has must be a public one, and the connection goes to exactly that
address, so that a name cannot mean something else a moment later. No redirects, no proxies of the environment, a few
seconds and a quarter of a megabyte. An installation whose provider is on its own network says so by a setting; the
link's own addresses, where clouds give a machine its credentials, are refused with it and without.
"""

import ipaddress
import json
import socket
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

LARGEST = 256 * 1024
SECONDS = 5.0

NEVER = [
    ipaddress.ip_network(each)
    for each in (
        "169.254.0.0/16", "fe80::/10",  # the link's own, with the metadata services of most clouds
        "fd00:ec2::/32", "fd20:ce::/32", "100.100.100.200/32", "168.63.129.16/32",  # and those of others
    )
]  # fmt: skip
EMBEDDING = [ipaddress.ip_network(each) for each in ("::/96", "64:ff9b::/96", "64:ff9b:1::/48")]
"""IPv6 networks whose last four bytes are an IPv4 address that is reached instead."""


class Unreachable(Exception):
    """What could not be had, without what an inner service may have said."""


def get(url: str, *, internal: bool, headers: Mapping[str, str] | None = None, seconds: float = SECONDS) -> Any:
    return _json("GET", url, internal=internal, seconds=seconds, headers=headers or {})


def post(url: str, form: Mapping[str, str], *, internal: bool, auth: tuple[str, str] | None = None) -> Any:
    return _json("POST", url, internal=internal, data=dict(form), auth=auth)


def _json(method: str, url: str, *, internal: bool, seconds: float = SECONDS, **rest: Any) -> Any:
    import httpx

    parts = urlsplit(url)
    host, address = parts.hostname or "", _address(url, internal=internal)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    literal = f"[{address}]" if ":" in address else address
    target = parts._replace(netloc=f"{literal}:{port}").geturl()
    headers = {"accept": "application/json", **rest.pop("headers", {}), "host": parts.netloc.rpartition("@")[2]}
    try:
        with (
            httpx.Client(trust_env=False, follow_redirects=False, timeout=seconds) as client,
            client.stream(method, target, headers=headers, extensions={"sni_hostname": host}, **rest) as answer,
        ):
            raw, deadline = b"", time.monotonic() + 2 * seconds
            for chunk in answer.iter_bytes():
                raw += chunk
                if time.monotonic() > deadline:
                    raise Unreachable(f"{host} took too long")
                if len(raw) > LARGEST:
                    raise Unreachable(f"{host} answered with too much")
            if answer.status_code != 200:
                raise Unreachable(f"{host} answered {answer.status_code}")
            return json.loads(raw)
    except (httpx.HTTPError, ValueError) as error:
        raise Unreachable(f"{host} did not answer as it should ({type(error).__name__})") from error


def _address(url: str, *, internal: bool) -> str:
    """The address to connect to; Unreachable for one that is not to be."""
    parts = urlsplit(url)
    host = parts.hostname
    if not host or parts.username or parts.password or parts.fragment:
        raise Unreachable("that is not an address to fetch from")
    if parts.scheme != "https" and not (internal and parts.scheme == "http"):
        raise Unreachable(f"{host} is not asked over {parts.scheme or 'nothing'}")
    try:
        found = socket.getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, ValueError) as error:
        raise Unreachable(f"{host} has no address") from error
    addresses = [str(each[4][0]) for each in found]
    if any(_never(address) for address in addresses):
        raise Unreachable(f"{host} is an address of the link's own, which is never asked")
    if not internal and not all(_public(address) for address in addresses):
        raise Unreachable(f"{host} is not on the public network")
    return addresses[0]


def _never(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    meant = [ip, *_embedded(ip)] if isinstance(ip, ipaddress.IPv6Address) else [ip]
    return any(each in network for each in meant for network in NEVER)


def _embedded(ip: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses that an IPv6 address may stand for."""
    found = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
    if any(ip in network for network in EMBEDDING):
        found.append(ipaddress.IPv4Address(ip.packed[-4:]))
    return [each for each in found if each is not None]


def _public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip.sixtofour is not None or ip.teredo is not None or ip in ipaddress.ip_network("64:ff9b::/96"):
            return False
    return ip.is_global and not ip.is_multicast
