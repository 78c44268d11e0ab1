"""Generated documents: what of the SDK works, every kind with its rights, every operation open without sign-in.

python -m scripts.documents            write them
python -m scripts.documents --check    fail when one is not what the code says
"""

import csv
import re
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import lakewright.app
from lakewright.kernel.kinds import KINDS, Kind
from lakewright.kernel.operation import OPERATIONS
from lakewright.kernel.rules import EVERYONE, PUBLIC

DOCS = Path(__file__).resolve().parent.parent / "docs"
SDK = Path(lakewright.app.__file__).with_name("sdk-operations.csv")


def main(arguments: list[str]) -> int:
    stale = []
    for name, text in (("COVERAGE.md", coverage()), ("kinds.md", kinds()), ("open-operations.md", open_operations())):
        path = DOCS / name
        if "--check" in arguments:
            if not path.exists() or path.read_text() != text:
                stale.append(name)
        else:
            path.write_text(text)
    if stale:
        print(f"out of step with the code: {', '.join(stale)}; run `make docs`", file=sys.stderr)
    return 1 if stale else 0


def coverage() -> str:
    ours = {(verb, shape(path)) for operation in OPERATIONS for verb, path in operation.routes}
    by_service: dict[str, list[tuple[str, str, str, bool]]] = defaultdict(list)
    with SDK.open() as file:
        for row in csv.DictReader(file):
            done = (row["verb"], shape(row["path"])) in ours
            by_service[row["service"]].append((row["method"], row["verb"], row["path"], done))
    total, working = sum(map(len, by_service.values())), sum(o[3] for s in by_service.values() for o in s)
    lines = [
        "# What of the Databricks SDK works",
        "",
        "Generated from the declared operations (`make docs`). *enforced*: guarded, recorded, and every accepted field has",
        "an effect. *notyet*: answers 501 with the operation's name. A field that is not enforced is refused with 501 and the",
        "operation's name, so nothing here is stored and ignored.",
        "",
        f"**{working} of {total}** operations of databricks-sdk 0.156 are enforced.",
        "",
    ]
    for service in sorted(by_service):
        entries = by_service[service]
        lines += [
            f"## {service} ({sum(e[3] for e in entries)} of {len(entries)})",
            "",
            "| operation | route | state |",
            "|---|---|---|",
        ]
        for method, verb, path, done in sorted(entries, key=lambda e: (e[2], e[1])):
            lines.append(f"| {method} | `{verb} {path}` | {'enforced' if done else 'notyet'} |")
        lines.append("")
    return "\n".join(lines)


def shape(path: str) -> str:
    """A path without the names of its parameters."""
    return re.sub(r"\{[^}]*\}", "{}", path)


def kinds() -> str:
    lines = [
        "# Kinds and what may be held on them",
        "",
        "Generated (`make docs`). Privileges stand alone and are inherited downwards; of levels each implies those before",
        "it. MANAGE may be granted on every kind.",
        "",
        "| kind | under | rights |",
        "|---|---|---|",
    ]
    for kind in sorted(set(KINDS.values()), key=lambda k: [above.name for above in reversed(k.lineage())]):
        rights = " < ".join(kind.rights) if kind.uses_levels else ", ".join(kind.rights)
        lines.append(f"| {kind.name} | {above(kind)} | {rights or '–'} |")
    return "\n".join([*lines, ""])


def above(kind: Kind) -> str:
    return " › ".join(k.name for k in reversed(kind.lineage()[1:])) or "–"


def open_operations() -> str:
    lines = [
        "# Operations without a right to hold",
        "",
        "Generated (`make docs`) from each operation's first sentence, which must say why it is open.",
        "",
        "## Before sign-in",
        "",
        *listed(o for o in OPERATIONS if o.needs is PUBLIC),
        "",
        "## For every signed-in caller",
        "",
        *listed(o for o in OPERATIONS if o.needs is EVERYONE),
        "",
    ]
    return "\n".join(lines)


def listed(operations: Iterable) -> list[str]:
    return [
        f"- `{o.verb} {o.path}` ({o.audit}): {' '.join(o.doc.split()) or '**no reason given**'}" for o in operations
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
