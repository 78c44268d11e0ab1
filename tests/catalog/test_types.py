"""One type, three spellings."""

import pytest

from lakewright.catalog.types import from_spark, parse
from lakewright.kernel.faults import Invalid, NotSupported


@pytest.mark.parametrize(
    "written, text, name, spark",
    [
        ("BIGINT", "bigint", "LONG", "long"),
        ("long", "bigint", "LONG", "long"),
        ("INT", "int", "INT", "integer"),
        ("timestamp_ntz", "timestamp_ntz", "TIMESTAMP_NTZ", "timestamp_ntz"),
        ("DECIMAL( 12 , 2 )", "decimal(12,2)", "DECIMAL", "decimal(12,2)"),
        ("decimal", "decimal(10,0)", "DECIMAL", "decimal(10,0)"),
    ],
)
def test_a_simple_type_is_known_by_all_its_names(written: str, text: str, name: str, spark: str):
    found = parse(written)
    assert (found.text, found.name, found.spark) == (text, name, spark)
    assert from_spark(spark).text == text


def test_a_nested_type_goes_there_and_back():
    found = parse("STRUCT<a: INT NOT NULL, `b c`: ARRAY<MAP<STRING, DECIMAL(5,1)>>, d struct<>>")
    assert found.name == "STRUCT"
    assert found.text == "struct<a:int,`b c`:array<map<string,decimal(5,1)>>,d:struct<>>"
    assert found.spark["fields"][0] == {"name": "a", "type": "integer", "nullable": False, "metadata": {}}
    assert from_spark(found.spark) == found
    assert parse(found.text).text == found.text


@pytest.mark.parametrize("text", ["varchar(10)", "interval", "variant", "array<char(3)>"])
def test_a_type_no_table_here_can_hold_is_not_supported(text: str):
    with pytest.raises(NotSupported):
        parse(text)


@pytest.mark.parametrize(
    "text",
    ["", "integers", "int)", "array<int", "array<>", "map<int>", "decimal(39,2)", "decimal(2,3)", "decimal(x)", "struct<a>",
     "`", "int; drop table x", "array<" * 40 + "int" + ">" * 40],
)  # fmt: skip
def test_what_is_no_type_is_refused(text: str):
    with pytest.raises(Invalid):
        parse(text)
