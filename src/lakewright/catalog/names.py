"""Names: what a catalog, schema, table, volume or function may be called, and how three of them make a path."""

import unicodedata

from lakewright.kernel.faults import Invalid

LONGEST = 255
# A dot separates levels and a slash separates paths. Quotes, backticks and semicolons have no use in a name and have
# been the start of every identifier injection.
FORBIDDEN = frozenset("./\\`'\";")


def checked(name: str, what: str = "name") -> str:
    """`name` as it is stored, in lower case, or Invalid saying what is wrong with it."""
    if not name or len(name) > LONGEST:
        raise Invalid(f"{what} must have 1 to {LONGEST} characters")
    if bad := next((c for c in name if c in FORBIDDEN or c.isspace() or not _printable(c)), None):
        raise Invalid(f"{what} may not contain {unicodedata.name(bad, f'U+{ord(bad):04X}')}")
    if unicodedata.normalize("NFC", name) != name:
        raise Invalid(f"{what} must be in Unicode normal form C")
    folded = name.lower()
    if len(folded) > LONGEST:
        raise Invalid(f"{what} must have 1 to {LONGEST} characters")
    return folded


def parts(full_name: str, levels: int) -> list[str]:
    """`catalog.schema.table` taken apart; every part checked."""
    split = full_name.split(".")
    if len(split) != levels:
        shape = ".".join(("catalog", "schema", "object")[:levels])
        raise Invalid(f"'{full_name}' must have the form {shape}")
    return [checked(part) for part in split]


def joined(*names: str) -> str:
    return ".".join(checked(name) for name in names)


def _printable(c: str) -> bool:
    """No control characters, surrogates, or formatting ones (they hide text or reverse its direction)."""
    return unicodedata.category(c)[0] != "C"
