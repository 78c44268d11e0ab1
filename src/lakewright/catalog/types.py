"""Column types: the same type as people write it (`bigint`), as the catalog names it (LONG) and as Delta stores it.

The three spellings are the clients' own: Polars and DuckDB read `type_json`, the SDK and the console `type_text`,
Delta's log holds the JSON form.
"""

import json
from dataclasses import dataclass
from typing import Any

from lakewright.kernel.faults import Invalid, NotSupported

# (what people write, what the catalog calls it, what Delta's log calls it)
_SIMPLE = (
    ("boolean", "BOOLEAN", "boolean"),
    ("tinyint", "BYTE", "byte"),
    ("smallint", "SHORT", "short"),
    ("int", "INT", "integer"),
    ("bigint", "LONG", "long"),
    ("float", "FLOAT", "float"),
    ("double", "DOUBLE", "double"),
    ("string", "STRING", "string"),
    ("binary", "BINARY", "binary"),
    ("date", "DATE", "date"),
    ("timestamp", "TIMESTAMP", "timestamp"),
    ("timestamp_ntz", "TIMESTAMP_NTZ", "timestamp_ntz"),
)
_BY_TEXT = {text: (text, name, spark) for text, name, spark in _SIMPLE}
_BY_SPARK = {spark: (text, name, spark) for text, name, spark in _SIMPLE}
_ALIASES = {
    "byte": "tinyint", "short": "smallint", "integer": "int", "long": "bigint", "real": "float", "bool": "boolean",
    "text": "string", "timestamp_ltz": "timestamp", "dec": "decimal", "numeric": "decimal",
}  # fmt: skip
_UNSUPPORTED = {"char", "varchar", "interval", "variant", "void", "geography", "geometry", "object"}
_DEEPEST = 32


@dataclass(frozen=True)
class DataType:
    text: str
    name: str
    spark: Any
    precision: int = 0
    scale: int = 0


def parse(text: str) -> DataType:
    """The type written as SQL; Invalid if it is none, NotSupported if it is one that no table here can hold."""
    reader = _Reader(text)
    found = reader.type(0)
    if not reader.done():
        raise Invalid(f"'{text}' is not a type")
    return found


def from_spark(spark: Any) -> DataType:
    """The type as it stands in a Delta log."""
    if isinstance(spark, str):
        if spark in _BY_SPARK:
            return DataType(*_BY_SPARK[spark])
        return parse(spark)
    match spark:
        case {"type": "array", "elementType": element}:
            inner = from_spark(element)
            return DataType(f"array<{inner.text}>", "ARRAY", spark)
        case {"type": "map", "keyType": key, "valueType": value}:
            return DataType(f"map<{from_spark(key).text},{from_spark(value).text}>", "MAP", spark)
        case {"type": "struct", "fields": _}:
            fields: list[dict[str, Any]] = spark["fields"]
            inside = ",".join(f"{_quoted(f['name'])}:{from_spark(f['type']).text}" for f in fields)
            return DataType(f"struct<{inside}>", "STRUCT", spark)
        case _:
            raise NotSupported(f"column type {json.dumps(spark)}")


def field(name: str, of: DataType, *, nullable: bool = True, comment: str | None = None) -> dict[str, Any]:
    """A field of a Delta schema."""
    return {"name": name, "type": of.spark, "nullable": nullable, "metadata": {"comment": comment} if comment else {}}


def _quoted(name: str) -> str:
    return name if name.replace("_", "a").isalnum() else f"`{name.replace('`', '``')}`"


class _Reader:
    """A recursive-descent reader of `struct<a: array<decimal(10,2)>, b: int not null>`."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def done(self) -> bool:
        self._space()
        return self._at == len(self._text)

    def type(self, depth: int) -> DataType:
        if depth > _DEEPEST:
            raise Invalid(f"a type may be nested {_DEEPEST} deep")
        word = self._word().lower()
        word = _ALIASES.get(word, word)
        if word in _BY_TEXT:
            return DataType(*_BY_TEXT[word])
        if word == "decimal":
            return self._decimal()
        if word in ("array", "map", "struct"):
            return from_spark({"array": self._array, "map": self._map, "struct": self._struct}[word](depth + 1))
        if word in _UNSUPPORTED:
            raise NotSupported(f"column type {word.upper()}")
        raise Invalid(f"'{self._text}' is not a type")

    def _decimal(self) -> DataType:
        precision, scale = 10, 0
        if self._take("("):
            precision = self._number()
            scale = self._number() if self._take(",") else 0
            self._expect(")")
        if not 1 <= precision <= 38 or not 0 <= scale <= precision:
            raise Invalid(f"decimal({precision},{scale}) is not a type")
        text = f"decimal({precision},{scale})"
        return DataType(text, "DECIMAL", text, precision, scale)

    def _array(self, depth: int) -> dict[str, Any]:
        self._expect("<")
        element = self.type(depth)
        self._expect(">")
        return {"type": "array", "elementType": element.spark, "containsNull": True}

    def _map(self, depth: int) -> dict[str, Any]:
        self._expect("<")
        key = self.type(depth)
        self._expect(",")
        value = self.type(depth)
        self._expect(">")
        return {"type": "map", "keyType": key.spark, "valueType": value.spark, "valueContainsNull": True}

    def _struct(self, depth: int) -> dict[str, Any]:
        self._expect("<")
        fields: list[dict[str, Any]] = []
        while not self._take(">"):
            if fields:
                self._expect(",")
            name = self._word()
            self._take(":")
            fields.append(field(name, self.type(depth), nullable=not self._not_null()))
        return {"type": "struct", "fields": fields}

    def _not_null(self) -> bool:
        mark = self._at
        if self._word_or_nothing().lower() == "not" and self._word_or_nothing().lower() == "null":
            return True
        self._at = mark
        return False

    def _space(self) -> None:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1

    def _take(self, token: str) -> bool:
        self._space()
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        return True

    def _expect(self, token: str) -> None:
        if not self._take(token):
            raise Invalid(f"'{self._text}' is not a type: '{token}' expected at {self._at}")

    def _word(self) -> str:
        if self._take("`"):
            end = self._text.find("`", self._at)
            if end < 0:
                raise Invalid(f"'{self._text}' is not a type: a backtick is open")
            word, self._at = self._text[self._at : end], end + 1
            return word
        if word := self._word_or_nothing():
            return word
        raise Invalid(f"'{self._text}' is not a type: a name expected at {self._at}")

    def _word_or_nothing(self) -> str:
        self._space()
        start = self._at
        while self._at < len(self._text) and (self._text[self._at].isalnum() or self._text[self._at] in "_-"):
            self._at += 1
        return self._text[start : self._at]

    def _number(self) -> int:
        word = self._word_or_nothing()
        if not word.isascii() or not word.isdigit() or len(word) > 3:
            raise Invalid(f"'{self._text}' is not a type: a number expected at {self._at}")
        return int(word)
