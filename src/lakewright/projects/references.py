"""References: ``${var.catalog}``, ``${bundle.target}``, ``${resources.jobs.train.id}`` and what they stand for.

A string that is one reference becomes its value with its type; a reference inside a longer string becomes text. References to a
resource's id stay as written until that resource exists.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

REFERENCE = re.compile(r"\$\{([A-Za-z_][\w-]*(?:\.[\w-]+|\[\d+\])*)\}")
Lookup = Callable[[str], Any]


class UnknownReference(Exception):
    def __init__(self, reference: str, where: str):
        super().__init__(f"{where}: ${{{reference}}} refers to nothing")


class CircularReference(Exception):
    def __init__(self, chain: list[str]):
        super().__init__("these refer to each other: " + " -> ".join(f"${{{one}}}" for one in chain))


class Later(Exception):
    """This reference can only be answered after something has been deployed."""


def resolve(value: Any, lookup: Lookup, where: str = "", chain: tuple[str, ...] = ()) -> Any:
    """``value`` with every reference replaced, in strings at any depth."""
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {key: resolve(one, lookup, f"{where}.{key}" if where else str(key), chain) for key, one in items}
    if isinstance(value, list):
        return [resolve(one, lookup, f"{where}[{at}]", chain) for at, one in enumerate(cast("list[Any]", value))]
    if isinstance(value, str) and "${" in value:
        return _resolve_text(value, lookup, where, chain)
    return value


def _resolve_text(text: str, lookup: Lookup, where: str, chain: tuple[str, ...]) -> Any:
    def answer(reference: str) -> Any:
        if reference in chain:
            raise CircularReference([*chain, reference])
        try:
            found = lookup(reference)
        except Later:
            return f"${{{reference}}}"
        except KeyError:
            raise UnknownReference(reference, where) from None
        return resolve(found, lookup, where, (*chain, reference))

    alone = REFERENCE.fullmatch(text)
    if alone:
        return answer(alone[1])
    return REFERENCE.sub(lambda match: _as_text(answer(match[1])), text)


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def follow(tree: Mapping[str, Any], path: str) -> Any:
    """The value at ``a.b[0].c``; KeyError where there is none."""
    here: Any = tree
    for step in re.findall(r"[\w-]+", path):
        if isinstance(here, list):
            items = cast("list[Any]", here)
            if not step.isdigit() or int(step) >= len(items):
                raise KeyError(path)
            here = items[int(step)]
        elif isinstance(here, Mapping) and step in here:
            here = cast("Mapping[str, Any]", here)[step]
        else:
            raise KeyError(path)
    return here
