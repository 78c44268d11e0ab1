"""Surroundings: the names a notebook finds without importing them, made once per task."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

from lakewright.runtime import rest
from lakewright.runtime.dbutils import DBUtils
from lakewright.runtime.display import display, displayHTML


@cache
def dbutils() -> DBUtils:
    return DBUtils(widgets_of(rest.task()))


def widgets_of(task: rest.Json) -> rest.Json:
    """A notebook's parameters have names; a script's are a list, and what it can ask for by name are the job's."""
    given = task.get("parameters")
    return cast(rest.Json, given if isinstance(given, dict) else task.get("job_parameters") or {})


class Spark:
    """`spark`, begun at its first use: most tasks do not use it, and it takes a second to import."""

    def __getattr__(self, name: str) -> Any:
        from lakewright.runtime.session import session

        return getattr(session(), name)

    def __dir__(self) -> list[str]:
        from lakewright.runtime.session import session

        return dir(session())


SPARK = Spark()


def _sql(text: str) -> Any:
    return SPARK.sql(text)


def _table(name: str) -> Any:
    return SPARK.table(name)


def names() -> dict[str, Any]:
    return {
        "spark": SPARK,
        "dbutils": dbutils(),
        "display": display,
        "displayHTML": displayHTML,
        "sql": _sql,
        "table": _table,
        "getArgument": dbutils().widgets.getArgument,
    }
