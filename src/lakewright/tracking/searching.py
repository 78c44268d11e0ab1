"""Searching runs and experiments by what was logged: filters and orders as SQL, over what the caller may read.

Permission is part of the query: which of the asked-for experiments are readable is decided in the same read of the
database as the search, so a page is full, the next one follows on, and nothing is found and then taken away.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from lakewright.kernel import objects
from lakewright.kernel.context import Ctx
from lakewright.kernel.faults import Invalid
from lakewright.kernel.objects import Obj, open_token, seal_token
from lakewright.kernel.operation import SNAPSHOT, Api, Ask, Reply
from lakewright.kernel.roots import IN_WORKSPACE, WORKSPACE, Root
from lakewright.kernel.rules import PER_ROW
from lakewright.tracking import experiments, filters, limits, reading
from lakewright.tracking.experiments import CAN_READ, EXPERIMENT
from lakewright.tracking.filters import LISTS, NULLS, NUMBERS, TEXTS, Comparison, Order

View = Literal["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]
STAGES: dict[View, tuple[str, ...]] = {
    "ACTIVE_ONLY": ("active",),
    "DELETED_ONLY": ("deleted",),
    "ALL": ("active", "deleted"),
}
SIZE = 1000

RUN_NUMBERS = {
    "start_time": "r.start_time",
    "end_time": "r.end_time",
    "created": "r.start_time",
    "Created": "r.start_time",
}
RUN_TEXTS = {"status": "r.status", "artifact_uri": "r.artifact_uri", "user_id": "r.user_id", "run_id": "r.run_uuid"}
RUN_NAMES = frozenset({"run_name", "run name", "Run name", "Run Name"})
EXPERIMENT_NUMBERS = {"creation_time": "e.creation_time", "last_update_time": "e.last_update_time"}
CONTEXT = "mlflow.data.context"

runs_api = Api("mlflowExperiment", "/api/2.0/mlflow/runs")
experiments_api = Api("mlflowExperiment", "/api/2.0/mlflow/experiments")


class SearchRuns(Ask):
    experiment_ids: list[str] = []
    filter: str | None = None
    run_view_type: View = "ACTIVE_ONLY"
    max_results: int | None = None
    order_by: list[str] = []
    page_token: str | None = None


class SearchExperiments(Ask):
    filter: str | None = None
    view_type: View = "ACTIVE_ONLY"
    max_results: int | None = None
    order_by: list[str] = []
    page_token: str | None = None


@dataclass
class Sql:
    """A condition or an order with its parameters, in the order they stand in the text."""

    text: str
    params: list[Any] = field(default_factory=list[Any])


@runs_api("POST", "/search", audit="searchRuns", on=IN_WORKSPACE, needs=PER_ROW, runs=SNAPSHOT)
def search_runs(ctx: Ctx, workspace: Obj[Root], ask: SearchRuns) -> Reply:
    """Of the experiments named, those that the caller may not read hold no runs for them."""
    size = limits.page_size(ask.max_results, SIZE)
    where = [run_condition(each, sole=ctx.platform.sole) for each in filters.parse(ask.filter)]
    joins, order = run_order([filters.parse_order(text) for text in ask.order_by])
    ids = readable(ctx, ask.experiment_ids)
    if not ids:
        return {}
    page = Page(ctx, "runs", ask, size)
    where += [among("r.experiment_id", ids), among("r.lifecycle_stage", STAGES[ask.run_view_type])]
    found = ctx.tx.all(
        f"SELECT r.* FROM runs r {joins.text} WHERE {' AND '.join(each.text for each in where)}"
        f" ORDER BY {order} LIMIT ? OFFSET ?",
        *joins.params, *(param for each in where for param in each.params), size + 1, page.offset,
    )  # fmt: skip
    return page.reply("runs", reading.whole(ctx.tx, found[:size]), more=len(found) > size)


def _search_experiments(ctx: Ctx, workspace: Obj[Root], ask: SearchExperiments) -> Reply:
    """Experiments that the caller may read, filtered by name, times and tags."""
    size = limits.page_size(ask.max_results, SIZE)
    where = [experiment_condition(each, sole=ctx.platform.sole) for each in filters.parse(ask.filter)]
    order = experiment_order([filters.parse_order(text) for text in ask.order_by])
    page = Page(ctx, "experiments", ask, size)
    where += [among("e.lifecycle_stage", STAGES[ask.view_type]), _readable_condition(ctx, workspace)]
    found = ctx.tx.all(
        f"SELECT {experiments.COLUMNS} WHERE {' AND '.join(each.text for each in where)} ORDER BY {order} LIMIT ? OFFSET ?",
        *(param for each in where for param in each.params), size + 1, page.offset,
    )  # fmt: skip
    return page.reply("experiments", experiments.shown(ctx.tx, found[:size]), more=len(found) > size)


@experiments_api("POST", "/search", audit="searchExperiments", on=IN_WORKSPACE, needs=PER_ROW, runs=SNAPSHOT)
def search_experiments(ctx: Ctx, workspace: Obj[Root], ask: SearchExperiments) -> Reply:
    return _search_experiments(ctx, workspace, ask)


@experiments_api("GET", "/search", audit="searchExperimentsByGet", on=IN_WORKSPACE, needs=PER_ROW)
def search_experiments_by_get(ctx: Ctx, workspace: Obj[Root], ask: SearchExperiments) -> Reply:
    return _search_experiments(ctx, workspace, ask)


class ListExperiments(Ask):
    view_type: View = "ACTIVE_ONLY"
    max_results: int | None = None
    page_token: str | None = None


@experiments_api("GET", "/list", audit="listExperiments", on=IN_WORKSPACE, needs=PER_ROW)
def list_experiments(ctx: Ctx, workspace: Obj[Root], ask: ListExperiments) -> Reply:
    return _search_experiments(ctx, workspace, SearchExperiments(**dict(ask)))


def readable(ctx: Ctx, asked: Iterable[str]) -> list[int]:
    """Of these experiments those that exist and that the caller may read."""
    names = sorted({name for name in asked if experiments.number(name) >= 0})
    condition = _readable_condition(ctx, objects.find(ctx, WORKSPACE, ""))
    found: list[int] = []
    for start in range(0, len(names), reading.CHUNK):
        part = among("o.id", names[start : start + reading.CHUNK])
        rows = ctx.tx.all(
            f"SELECT o.id FROM objects o WHERE {part.text} AND {condition.text}", *part.params, *condition.params
        )
        found += [int(row["id"]) for row in rows]
    return found


def _readable_condition(ctx: Ctx, workspace: Obj[Root]) -> Sql:
    living = "o.kind = ? AND o.workspace = ? AND o.deleted_at IS NULL"
    params: list[Any] = [EXPERIMENT.name, ctx.workspace]
    if CAN_READ.covers(ctx, workspace.id):
        return Sql(living, params)
    condition = CAN_READ.condition(ctx)
    return Sql(f"{living} AND {condition.sql}", [*params, *condition.params])


@dataclass
class Page:
    """One page of a search: where it starts and the token of the next, good for this caller and this search only."""

    ctx: Ctx
    what: str
    ask: Ask
    size: int

    @property
    def bound(self) -> str:
        asked = self.ask.model_dump(mode="json", exclude={"page_token", "max_results"})
        same = hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()
        return f"{self.what}:{self.ctx.principal.id}:{same}"

    @property
    def offset(self) -> int:
        token = getattr(self.ask, "page_token", None)
        return int(open_token(self.ctx, token, self.bound)) if token else 0

    def reply(self, name: str, shown: list[dict[str, Any]], *, more: bool) -> Reply:
        if not more:
            return {name: shown}
        return {name: shown, "next_page_token": seal_token(self.ctx, str(self.offset + self.size), self.bound)}


# What a comparison means. Column names come from the tables above, never from the filter; values are parameters.


def run_condition(each: Comparison, *, sole: bool) -> Sql:
    name, value = each.name, each.value
    match name.entity:
        case "metric":
            return _metric(each)
        case "param" | "tag":
            allow(each, TEXTS | NULLS)
            return _keyed("params" if name.entity == "param" else "tags", name.key, each, sole=sole)
        case "dataset":
            return _of_dataset(each, sole=sole)
        case "attribute" if name.key in RUN_NUMBERS:
            allow(each, NUMBERS)
            return Sql(f"{RUN_NUMBERS[name.key]} {each.operator} ?", [value])
        case "attribute" if name.key in RUN_NAMES:
            allow(each, TEXTS)
            return _keyed("tags", "mlflow.runName", each, sole=sole)
        case "attribute" if name.key in RUN_TEXTS:
            allow(each, TEXTS | LISTS if name.key == "run_id" else TEXTS)
            return compared(RUN_TEXTS[name.key], each, sole=sole)
        case _:
            raise _no_attribute(name.key, [*RUN_TEXTS, "run_name", "start_time", "end_time"])


def experiment_condition(each: Comparison, *, sole: bool) -> Sql:
    name = each.name
    match name.entity:
        case "tag":
            allow(each, TEXTS | NULLS)
            if each.operator in NULLS:
                word = "NOT EXISTS" if each.operator == "IS NULL" else "EXISTS"
                return Sql(
                    f"{word} (SELECT 1 FROM experiment_tags t WHERE t.experiment_id = e.experiment_id AND t.key = ?)",
                    [name.key],
                )
            test = compared("t.value", each, sole=sole)
            return Sql(
                "EXISTS (SELECT 1 FROM experiment_tags t WHERE t.experiment_id = e.experiment_id AND t.key = ?"
                f" AND {test.text})",
                [name.key, *test.params],
            )
        case "attribute" if name.key == "name":
            allow(each, TEXTS)
            return compared("('/' || o.full_name)", each, sole=sole)
        case "attribute" if name.key == "experiment_id":
            allow(each, {"=", "!="} | LISTS)
            return compared("CAST(e.experiment_id AS TEXT)", each, sole=sole)
        case "attribute" if name.key in EXPERIMENT_NUMBERS:
            allow(each, NUMBERS)
            return Sql(f"{EXPERIMENT_NUMBERS[name.key]} {each.operator} ?", [each.value])
        case "attribute":
            raise _no_attribute(name.key, ["name", "experiment_id", *EXPERIMENT_NUMBERS])
        case _:
            raise Invalid(f"Invalid entity type '{name.entity}'. Valid entity types are ('attribute', 'tag', 'tags')")


def run_order(orders: list[Order]) -> tuple[Sql, str]:
    """Joins that bring in what is ordered by, and the order; what a run lacks sorts last."""
    joins, terms, seen = Sql(""), list[str](), set[tuple[str, str]]()
    for index, order in enumerate(orders):
        name, way = order.name, "ASC" if order.ascending else "DESC"
        key = "start_time" if name.entity == "attribute" and name.key in ("created", "Created") else name.key
        if (name.entity, key) in seen:
            raise Invalid(f"`order_by` contains duplicate fields: {name.key[:100]}")
        seen.add((name.entity, key))
        if name.entity == "attribute":
            column = {**RUN_TEXTS, **RUN_NUMBERS, "run_name": "r.name"}.get(key)
            if column is None:
                raise _no_attribute(key, [*RUN_TEXTS, "run_name", "start_time", "end_time"])
            terms += [f"CASE WHEN {column} IS NULL THEN 1 ELSE 0 END", f"{column} {way}"]
            continue
        table = {"metric": "latest_metrics", "param": "params", "tag": "tags"}.get(name.entity)
        if table is None:
            raise Invalid(f"Invalid identifier type '{name.entity}'")
        alias = f"s{index}"
        joins.text += f" LEFT JOIN {table} {alias} ON {alias}.run_uuid = r.run_uuid AND {alias}.key = ?"
        joins.params.append(key)
        nan = f"WHEN {alias}.is_nan THEN 1 " if table == "latest_metrics" else ""
        terms += [f"CASE {nan}WHEN {alias}.value IS NULL THEN 2 ELSE 0 END", f"{alias}.value {way}"]
    if ("attribute", "start_time") not in seen:
        terms.append("r.start_time DESC")
    return joins, ", ".join([*terms, "r.run_uuid"])


def experiment_order(orders: list[Order]) -> str:
    columns = {"name": "o.full_name", "experiment_id": "e.experiment_id", **EXPERIMENT_NUMBERS}
    terms: list[str] = []
    for order in orders:
        if order.name.entity != "attribute" or order.name.key not in columns:
            raise _no_attribute(order.name.key, list(columns))
        terms.append(f"{columns[order.name.key]} {'ASC' if order.ascending else 'DESC'}")
    if not orders:
        return "e.creation_time DESC, e.experiment_id ASC"
    return ", ".join(terms if any("experiment_id" in term for term in terms) else [*terms, "e.experiment_id DESC"])


def allow(each: Comparison, operators: Iterable[str]) -> None:
    """The operator fits what is compared, and the value fits the operator."""
    allowed = set(operators)
    if each.operator not in allowed:
        raise Invalid(f"Invalid comparator '{each.operator}' not one of {sorted(allowed)}")
    numeric = "<" in allowed
    fits = isinstance(each.value, (int, float)) if numeric else isinstance(each.value, (str, tuple, type(None)))
    if not fits:
        wanted = "numeric value" if numeric else "quoted string value"
        raise Invalid(
            f"Expected a {wanted} for {each.name.entity} '{each.name.key[:100]}'. Got {str(each.value)[:100]}"
        )
    if isinstance(each.value, int) and not -(2**63) <= each.value < 2**63:
        raise Invalid(f"{each.value} does not fit in 64 bits")


def compared(column: str, each: Comparison, *, sole: bool) -> Sql:
    """A text column against the comparison's value. LIKE minds case, ILIKE does not."""
    value = each.value
    if isinstance(value, tuple):
        part = among(column, value)
        return part if each.operator == "IN" else Sql(f"NOT {part.text}", part.params)
    text = limits.storable(str(value), "filter")
    if each.operator == "ILIKE":
        return Sql(f"LOWER({column}) LIKE LOWER(?)", [_escaped(text, sole=sole)])
    if each.operator == "LIKE":
        # SQLite's LIKE does not mind case; its GLOB does, and writes patterns differently.
        return Sql(f"{column} GLOB ?", [_glob(text)]) if sole else Sql(f"{column} LIKE ?", [_escaped(text, sole=False)])
    return Sql(f"{column} {each.operator} ?", [text])


def among(column: str, values: Iterable[Any]) -> Sql:
    params = list(values)
    return Sql(f"{column} IN ({', '.join('?' * len(params))})", params)


def _metric(each: Comparison) -> Sql:
    allow(each, NUMBERS)
    # NaN is stored as 0 with a mark: it differs from every number and compares with none.
    test = "(m.value != ? OR m.is_nan)" if each.operator == "!=" else f"m.value {each.operator} ? AND NOT m.is_nan"
    return Sql(
        f"EXISTS (SELECT 1 FROM latest_metrics m WHERE m.run_uuid = r.run_uuid AND m.key = ? AND {test})",
        [each.name.key, float(each.value)],  # type: ignore[arg-type]  # allow() has seen to it that it is a number
    )


def _keyed(table: str, key: str, each: Comparison, *, sole: bool) -> Sql:
    if each.operator in NULLS:
        word = "NOT EXISTS" if each.operator == "IS NULL" else "EXISTS"
        return Sql(f"{word} (SELECT 1 FROM {table} k WHERE k.run_uuid = r.run_uuid AND k.key = ?)", [key])
    test = compared("k.value", each, sole=sole)
    return Sql(
        f"EXISTS (SELECT 1 FROM {table} k WHERE k.run_uuid = r.run_uuid AND k.key = ? AND {test.text})",
        [key, *test.params],
    )


def _of_dataset(each: Comparison, *, sole: bool) -> Sql:
    allow(each, TEXTS | LISTS)
    columns = {"name": "d.name", "digest": "d.digest", "context": "t.value"}
    if each.name.key not in columns:
        raise Invalid(f"Invalid dataset key '{each.name.key[:100]}' specified. Valid keys are {sorted(columns)}")
    test = compared(columns[each.name.key], each, sole=sole)
    tagged = f"JOIN input_tags t ON t.input_uuid = i.input_uuid AND t.name = '{CONTEXT}'"
    return Sql(
        "EXISTS (SELECT 1 FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id"
        f" {tagged if each.name.key == 'context' else ''}"
        f" WHERE i.destination_type = 'RUN' AND i.destination_id = r.run_uuid AND {test.text})",
        test.params,
    )


def _no_attribute(key: str, valid: list[str]) -> Invalid:
    return Invalid(f"Invalid attribute key '{key[:100]}' specified. Valid keys are {sorted(valid)}")


def _glob(pattern: str) -> str:
    into = {"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}
    return "".join(into.get(each, each) for each in pattern)


def _escaped(pattern: str, *, sole: bool) -> str:
    """A backslash is a plain character in MLflow's patterns; to Postgres it is not."""
    return pattern if sole else pattern.replace("\\", "\\\\")
