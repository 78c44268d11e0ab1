"""The audit trail as files: JSON lines that whoever has the installation's public key can check, offline.

After every hundred rows stands a checkpoint: a digest of each of those lines and of the checkpoint before, signed with
Ed25519. A line that was altered, taken out, put in or moved is named exactly; a file that was cut off has no last
checkpoint.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from lakewright.kernel.audit import FIELDS, Break, Chain, Head, Walk
from lakewright.kernel.keys import Keys

BLOCK = 100
"""Rows between two checkpoints."""
FIRST = "0" * 32


class Signer:
    """Signs with a key of the installation; the other half of it is public."""

    def __init__(self, keys: Keys) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(keys.purpose("audit-files"))

    def public(self) -> str:
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def sign(self, what: bytes) -> str:
        return base64.b64encode(self._key.sign(what)).decode()


# ---- writing


def lines(rows: Iterable[Mapping[str, Any]], signer: Signer, at: Callable[[], int]) -> Iterator[bytes]:
    """The rows as lines with checkpoints between them, and the last one at the end."""
    block = _Block()
    for row in rows:
        line = orjson.dumps({"seq": row["seq"], **{f: row[f] for f in FIELDS}, "hash": row["hash"]}) + b"\n"
        block.add(int(row["seq"]), str(row["hash"]), line)
        yield line
        if len(block.digests) == BLOCK:
            yield block.close(signer, at(), last=False)
    yield block.close(signer, at(), last=True)


@dataclass
class _Block:
    before: str = FIRST
    seq: int = 0
    hash: str = ""
    digests: list[str] = field(default_factory=list[str])

    def add(self, seq: int, hash_: str, line: bytes) -> None:
        self.seq, self.hash = seq, hash_
        self.digests.append(digest(line))

    def close(self, signer: Signer, at: int, *, last: bool) -> bytes:
        said = {
            "seq": self.seq, "hash": self.hash, "at": at, "before": self.before, "lines": self.digests, "last": last,
        }  # fmt: skip
        line = orjson.dumps({"checkpoint": said, "signature": signer.sign(orjson.dumps(said))}) + b"\n"
        self.before, self.digests = digest(line), []
        return line


def digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()[:32]


# ---- checking


@dataclass
class Checked:
    rows: int = 0
    seq: int = 0
    hash: str = ""
    digest: str = ""
    """Of the whole file."""


class Broken(Exception):
    """The first thing in the file that is not as it was written."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(f"line {line}: {what}")
        self.line, self.what = line, what


def check(given: Iterable[bytes], public_key: str) -> Checked:
    """Read a file to its end. Raises Broken; holds no more than a block of it at a time."""
    key = load_pem_public_key(public_key.encode())
    if not isinstance(key, Ed25519PublicKey):
        raise Broken(0, "the public key is not an Ed25519 key")
    found, whole = Checked(), hashlib.sha256()
    block, before, number, ended = list[bytes](), FIRST, 0, False
    for number, line in enumerate(given, 1):
        whole.update(line)
        if ended:
            raise Broken(number, "after the last checkpoint")
        said = _parsed(number, line)
        if "checkpoint" not in said:
            block.append(line)
            if len(block) > BLOCK:
                raise Broken(number, f"more than {BLOCK} rows without a checkpoint")
            continue
        checkpoint = _signed(number, said, key)
        _compare(number - len(block), block, checkpoint)
        if checkpoint["before"] != before:
            raise Broken(number, "a checkpoint before this one is missing or was moved")
        found.rows += len(block)
        found.seq, found.hash = int(checkpoint["seq"]), str(checkpoint["hash"])
        block, before, ended = [], digest(line), bool(checkpoint["last"])
    if not ended:
        raise Broken(number + 1, "the file is cut off: its last checkpoint is missing")
    found.digest = whole.hexdigest()
    return found


def _parsed(number: int, line: bytes) -> dict[str, Any]:
    try:
        said = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise Broken(number, "not a line of JSON") from error
    if not isinstance(said, dict):
        raise Broken(number, "not a row and not a checkpoint")
    return said  # type: ignore[reportUnknownVariableType]


def _signed(number: int, said: dict[str, Any], key: Ed25519PublicKey) -> dict[str, Any]:
    try:
        key.verify(base64.b64decode(said["signature"]), orjson.dumps(said["checkpoint"]))
    except (InvalidSignature, KeyError, ValueError, TypeError) as error:
        raise Broken(number, "a checkpoint that this installation did not sign") from error
    return said["checkpoint"]


def _compare(first: int, block: Sequence[bytes], checkpoint: Mapping[str, Any]) -> None:
    were: list[str] = checkpoint["lines"]
    now = [digest(line) for line in block]
    for at, (is_, was) in enumerate(zip(now, were, strict=False)):
        if is_ == was:
            continue
        what = "altered"
        if was in now[at:]:
            what = "a line was put in or moved here"
        elif is_ in were[at:]:
            what = "a line is missing before this one"
        raise Broken(first + at, what)
    if len(now) < len(were):
        raise Broken(first + len(now), "a line is missing here")
    if len(now) > len(were):
        raise Broken(first + len(were), "a line was put in here")


# ---- checkpoints for going on later


def checkpoint(chain: Chain, seq: int, hash_: str, keyed_from: int) -> dict[str, Any]:
    """Proof that the trail was whole up to a row; kept elsewhere, it shows a trail that was set back."""
    return {"seq": seq, "hash": hash_, "mac": chain.sign("whole", seq, hash_, keyed_from)}


def resumed(chain: Chain, head: Head, seq: int, hash_: str, mac: str) -> Walk | None:
    """The walk that goes on after a checkpoint of ours; None if it is not ours."""
    if chain.sign("whole", seq, hash_, head.keyed_from) != mac:
        return None
    return Walk(chain, head.keyed_from, seq, hash_)


__all__ = ["Break", "Broken", "Checked", "Signer", "check", "checkpoint", "digest", "lines", "resumed"]
