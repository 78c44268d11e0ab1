"""Hooks: modules that code written for Databricks imports, made when it does and only if the real ones are not installed.

    dbruntime      what `databricks.sdk.runtime` and `WorkspaceClient().dbutils` look for
    pyspark.sql    functions, types, window and the session, from SQLFrame over the task's governed session

`DATABRICKS_RUNTIME_VERSION` is not set: with it, MLflow takes the process for a cluster of Databricks and goes ways that do not exist here.
Host and token are found in the environment.
"""

# pyarrow, IPython and SQLFrame have no types, or only some.
# pyright: basic
from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any


def install() -> None:
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())  # last: a real pyspark comes first


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        make = MODULES.get(fullname)
        if make is None:
            return None
        return importlib.util.spec_from_loader(fullname, _Loader(make), is_package=fullname in PACKAGES)


class _Loader(importlib.abc.Loader):
    def __init__(self, make: Callable[[], dict[str, Any]]) -> None:
        self._make = make

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__.update(self._make())


# --- dbruntime


class UserNamespaceInitializer:
    @classmethod
    def getOrCreate(cls) -> UserNamespaceInitializer:
        return cls()

    def get_namespace_globals(self) -> dict[str, Any]:
        from lakewright.runtime import surroundings

        return surroundings.names()


# --- pyspark.sql


def _sql() -> dict[str, Any]:
    from sqlframe import duckdb
    from sqlframe.duckdb.session import DuckDBSession

    from lakewright.runtime.session import GovernedSession

    return {
        "SparkSession": GovernedSession,
        "DataFrame": duckdb.DuckDBDataFrame,
        "GroupedData": duckdb.DuckDBGroupedData,
        "Column": duckdb.Column,
        "Row": importlib.import_module("sqlframe.base.types").Row,
        "Window": duckdb.Window,
        "WindowSpec": duckdb.WindowSpec,
        "_session": DuckDBSession,
    }


def _names(module: str) -> Callable[[], dict[str, Any]]:
    def make() -> dict[str, Any]:
        found = importlib.import_module(module)
        return {name: getattr(found, name) for name in dir(found) if not name.startswith("__")}

    return make


def _pick(module: str, **names: str) -> Callable[[], dict[str, Any]]:
    def make() -> dict[str, Any]:
        found = importlib.import_module(module)
        return {name: getattr(found, theirs) for name, theirs in names.items()}

    return make


MODULES: dict[str, Callable[[], dict[str, Any]]] = {
    "dbruntime": lambda: {"UserNamespaceInitializer": UserNamespaceInitializer},
    "pyspark": dict,
    "pyspark.sql": _sql,
    "pyspark.sql.functions": _names("sqlframe.duckdb.functions"),
    "pyspark.sql.types": _names("sqlframe.duckdb.types"),
    "pyspark.sql.window": _names("sqlframe.duckdb.window"),
    "pyspark.sql.session": _pick("lakewright.runtime.session", SparkSession="GovernedSession"),
    "pyspark.sql.dataframe": _pick("sqlframe.duckdb.dataframe", DataFrame="DuckDBDataFrame"),
    "pyspark.sql.column": _pick("sqlframe.duckdb.column", Column="Column"),
}
PACKAGES = ("pyspark", "pyspark.sql", "dbruntime")
