"""Which operation a request means. Own code, because Starlette's router tries one regular expression per route in
turn: with several hundred routes that alone would cost more than the rest of a governed write."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from lakewright.kernel.operation import Operation

Op = Operation[Any, Any]


@dataclass
class _Node:
    literal: "dict[str, _Node]" = field(default_factory=dict[str, "_Node"])
    parameter: "_Node | None" = None
    rest: "dict[str, tuple[Op, tuple[str, ...]]]" = field(default_factory=dict[str, tuple[Op, tuple[str, ...]]])
    here: "dict[str, tuple[Op, tuple[str, ...]]]" = field(default_factory=dict[str, tuple[Op, tuple[str, ...]]])


class Routes:
    """A tree by path segment. A literal segment beats `{name}`, which beats `{name:rest}`."""

    def __init__(self, operations: Iterable[Op]) -> None:
        self._root = _Node()
        for operation in operations:
            for verb, path in operation.routes:
                self._add(verb, path, operation)

    def _add(self, verb: str, path: str, operation: Op) -> None:
        node, names = self._root, list[str]()
        for segment in path.strip("/").split("/"):
            if segment.startswith("{") and segment.endswith(":rest}"):
                self._put(node.rest, verb, path, operation, (*names, segment[1:-6]))
                return
            if segment.startswith("{") and segment.endswith("}"):
                names.append(segment[1:-1])
                node.parameter = node = node.parameter or _Node()
            else:
                node = node.literal.setdefault(segment, _Node())
        self._put(node.here, verb, path, operation, tuple(names))

    def _put(
        self, into: dict[str, tuple[Op, tuple[str, ...]]], verb: str, path: str, operation: Op, names: tuple[str, ...]
    ) -> None:
        if verb in into:
            raise ValueError(f"{verb} {path} is declared by {into[verb][0].name} and by {operation.name}")
        into[verb] = (operation, names)

    def match(self, verb: str, raw_path: str) -> tuple[Op, dict[str, str]] | None:
        """The operation and its path parameters. Segments are split before they are unquoted: `%2F` is no slash."""
        if not raw_path.startswith("/"):
            return None
        segments = raw_path[1:].split("/")
        return self._match(self._root, segments, 0, [], verb)

    def _match(
        self, node: _Node, segments: list[str], at: int, values: list[str], verb: str
    ) -> tuple[Op, dict[str, str]] | None:
        if at == len(segments):
            return self._named(node.here.get(verb), values)
        segment = segments[at]
        below = node.literal.get(segment)
        found = self._match(below, segments, at + 1, values, verb) if below is not None else None
        if found is None and node.parameter is not None and segment:
            found = self._match(node.parameter, segments, at + 1, [*values, unquote(segment)], verb)
        if found is None and node.rest:
            rest = "/".join(unquote(s) for s in segments[at:])
            found = self._named(node.rest.get(verb), [*values, rest])
        return found

    def _named(self, leaf: tuple[Op, tuple[str, ...]] | None, values: list[str]) -> tuple[Op, dict[str, str]] | None:
        if leaf is None:
            return None
        operation, names = leaf
        return operation, dict(zip(names, values, strict=True))
