"""Notebooks as source and as Jupyter's JSON."""

import json

import pytest

from lakewright.kernel.faults import Invalid
from lakewright.workspace.notebooks import Cell, cells, from_jupyter, is_notebook, language_of, to_jupyter, to_source

SOURCE = """# Databricks notebook source
x = 1

# COMMAND ----------

# MAGIC %md
# MAGIC # Title
# MAGIC
# MAGIC text

# COMMAND ----------

# MAGIC %sql
# MAGIC SELECT 1
"""


def test_source_is_taken_apart_into_cells():
    assert cells(SOURCE, "PYTHON") == [
        Cell("x = 1"), Cell("# Title\n\ntext", markdown=True), Cell("%sql\nSELECT 1"),
    ]  # fmt: skip


def test_source_goes_to_jupyter_and_back():
    book = to_jupyter(SOURCE, "PYTHON")
    assert [c["cell_type"] for c in json.loads(book)["cells"]] == ["code", "markdown", "code"]
    assert from_jupyter(book.encode()) == (SOURCE, "PYTHON")


@pytest.mark.parametrize("language, mark", [("SQL", "--"), ("SCALA", "//"), ("R", "#")])
def test_every_language_has_its_comment(language, mark):
    source = to_source([Cell("a"), Cell("b", markdown=True)], language)
    assert source.startswith(f"{mark} Databricks notebook source\n")
    assert cells(source, language) == [Cell("a"), Cell("b", markdown=True)]


def test_outputs_are_left_behind():
    book = {
        "cells": [{"cell_type": "code", "source": ["x\n", "y"], "outputs": [{"text": "CANARY"}]}], "metadata": {},
    }  # fmt: skip
    source, language = from_jupyter(json.dumps(book).encode())
    assert (source, language) == ("# Databricks notebook source\nx\ny\n", "PYTHON")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"cells": 1}', b'{"cells": [1]}', b"\xff", b'{"cells": [{"source": "x"}]}']
)
def test_what_is_not_jupyter_is_refused(content):
    with pytest.raises(Invalid):
        from_jupyter(content)


def test_the_first_line_makes_a_notebook():
    assert is_notebook(SOURCE.encode(), "PYTHON")
    assert not is_notebook(b"x = 1\n" + SOURCE.encode(), "PYTHON")
    assert language_of("/a/B.PY") == ("PYTHON", ".PY")
    assert language_of("/a/b.txt") is None
