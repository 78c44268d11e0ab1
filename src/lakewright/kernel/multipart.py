"""Forms with files in them (RFC 7578), as the fields they mean. Small, because a whole form fits the body limit."""

import base64
import re

from lakewright.kernel.faults import Malformed

MOST_PARTS = 20
_PARAMETER = re.compile(r';\s*(\w+)="((?:[^"\\]|\\.)*)"')


def fields(raw: bytes, content_type: str) -> dict[str, str]:
    """Text parts as text, file parts (those with a file name) as base64."""
    boundary = re.search(r'boundary="?([^";,\s]{1,70})"?', content_type)
    if boundary is None:
        raise Malformed("the form has no boundary")
    parts = (b"\r\n" + raw).split(b"\r\n--" + boundary.group(1).encode("latin-1"))
    if len(parts) > MOST_PARTS + 2 or not parts[-1].startswith(b"--"):
        raise Malformed("the form is cut off or has too many parts")
    found: dict[str, str] = {}
    for part in parts[1:-1]:
        head, gap, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name, is_file = _disposition(head)
        if not gap or name is None or name in found:
            raise Malformed("a part of the form has no name, or another's")
        found[name] = base64.b64encode(content).decode() if is_file else _text(content)
    return found


def _disposition(head: bytes) -> tuple[str | None, bool]:
    for line in _text(head).split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-disposition":
            given = dict(_PARAMETER.findall(value))
            return given.get("name"), "filename" in given
    return None, False


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Malformed("a part of the form is not UTF-8") from error
