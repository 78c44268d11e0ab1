"""Which operation a request means. Own code, because Starlette's router tries one regular expression per route in
turn: with several hundred routes that alone would cost more than the rest of a governed write."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import unquote

T = TypeVar("T")
Leaf = tuple[T, tuple[str, ...]]


@dataclass
class _Node(Generic[T]):
    literal: "dict[str, _Node[T]]" = field(default_factory=lambda: dict[str, "_Node[T]"]())
    parameter: "_Node[T] | None" = None
    rest: "dict[str, Leaf[T]]" = field(default_factory=lambda: dict[str, "Leaf[T]"]())
    here: "dict[str, Leaf[T]]" = field(default_factory=lambda: dict[str, "Leaf[T]"]())


class Routes(Generic[T]):
    """A tree by path segment. A literal segment beats `{name}`, which beats `{name:rest}`."""

    def __init__(self, leaves: Iterable[tuple[T, Iterable[tuple[str, str]]]]) -> None:
        """`leaves`: what is found, with the (verb, path) pairs it is found by. Two at one place are a mistake."""
        self._root: _Node[T] = _Node()
        for leaf, routes in leaves:
            for verb, path in routes:
                self._add(verb, path, leaf)

    def _add(self, verb: str, path: str, leaf: T) -> None:
        node, names = self._root, list[str]()
        for segment in path.removeprefix("/").split("/"):
            if segment.startswith("{") and segment.endswith(":rest}"):
                self._put(node.rest, verb, path, (leaf, (*names, segment[1:-6])))
                return
            if segment.startswith("{") and segment.endswith("}"):
                names.append(segment[1:-1])
                node.parameter = node = node.parameter or _Node()
            else:
                node = node.literal.setdefault(segment, _Node())
        self._put(node.here, verb, path, (leaf, tuple(names)))

    def _put(self, into: "dict[str, Leaf[T]]", verb: str, path: str, leaf: "Leaf[T]") -> None:
        if verb in into:
            raise ValueError(f"{verb} {path} is declared by {into[verb][0]} and by {leaf[0]}")
        into[verb] = leaf

    def match(self, verb: str, raw_path: str) -> tuple[T, dict[str, str]] | None:
        """What is at the path, and its parameters. Segments are split before they are unquoted: `%2F` is no slash."""
        if not raw_path.startswith("/"):
            return None
        return self._match(self._root, raw_path[1:].split("/"), 0, [], verb)

    def _match(
        self, node: _Node[T], segments: list[str], at: int, values: list[str], verb: str
    ) -> tuple[T, dict[str, str]] | None:
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

    def _named(self, leaf: "Leaf[T] | None", values: list[str]) -> tuple[T, dict[str, str]] | None:
        if leaf is None:
            return None
        found, names = leaf
        return found, dict(zip(names, values, strict=True))
