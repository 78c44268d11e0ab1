"""Metrics: numbers that change as a run goes on. Every value is kept; the latest of each name is kept beside it.

The latest is the one with the greatest (step, timestamp, value). NaN is stored as 0 and a mark, infinities as the
largest numbers there are: databases differ on both, MLflow decided so, and its own store reads these rows.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import BaseModel, Field

from lakewright.kernel.context import Ctx
from lakewright.kernel.objects import Obj, open_token, seal_token
from lakewright.kernel.operation import SNAPSHOT, Api, Reply
from lakewright.kernel.store import Tx
from lakewright.tracking import limits, reading
from lakewright.tracking.experiments import CAN_EDIT, CAN_READ, Experiment
from lakewright.tracking.targets import OfRun, in_run, require_usable

LARGEST = 1.7976931348623157e308
HISTORY_PAGE = 25_000

api = Api("mlflowExperiment", "/api/2.0/mlflow/metrics")


class Metric(BaseModel, extra="forbid"):
    key: str
    value: float = Field(exclude=True)
    timestamp: limits.Time
    step: limits.Long = 0
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None
    run_id: str | None = None


class Stored(NamedTuple):
    """A metric as the table holds it."""

    key: str
    step: int
    timestamp: int
    value: float
    is_nan: bool

    def newer(self, than: "Stored") -> bool:
        return (self.step, self.timestamp, self.value) > (than.step, than.timestamp, than.value)


class GetHistory(OfRun):
    metric_key: str
    max_results: int | None = None
    page_token: str | None = None


@api("GET", "/get-history", audit="getMetricHistory", on=in_run(), needs=CAN_READ, runs=SNAPSHOT)
def get_history(ctx: Ctx, experiment: Obj[Experiment], ask: GetHistory) -> Reply:
    """Every value of one metric, oldest first."""
    size = limits.page_size(ask.max_results, HISTORY_PAGE)
    bound = f"metric:{ctx.principal.id}:{ask.run_id}:{ask.metric_key}"
    offset = int(open_token(ctx, ask.page_token, bound)) if ask.page_token else 0
    found = ctx.tx.all(
        "SELECT key, value, timestamp, step, is_nan FROM metrics WHERE run_uuid = ? AND key = ?"
        " ORDER BY timestamp, step, value LIMIT ? OFFSET ?",
        ask.run_id, ask.metric_key, size + 1, offset,
    )  # fmt: skip
    reply: Reply = {"metrics": [reading.metric(each) for each in found[:size]]}
    if len(found) > size:
        reply["next_page_token"] = seal_token(ctx, str(offset + size), bound)
    return reply


def stored(metric: Metric) -> Stored:
    value = metric.value
    if math.isnan(value):
        return Stored(metric.key, metric.step, metric.timestamp, 0.0, True)
    return Stored(metric.key, metric.step, metric.timestamp, max(-LARGEST, min(LARGEST, value)), False)


def latest(logged: Sequence[Stored]) -> dict[str, Stored]:
    """Of each name the one that counts; of equals the first."""
    found: dict[str, Stored] = {}
    for each in logged:
        known = found.get(each.key)
        if known is None or each.newer(known):
            found[each.key] = each
    return found


def check(metrics: Sequence[Metric]) -> None:
    for index, metric in enumerate(metrics):
        limits.key(metric.key, f"metrics[{index}].name" if len(metrics) > 1 else "name")


def put(tx: Tx, run_id: str, metrics: Sequence[Metric]) -> None:
    """Add the values; one logged before is the same value still."""
    logged = list(dict.fromkeys(stored(metric) for metric in metrics))
    tx.many(
        "INSERT INTO metrics (run_uuid, key, step, timestamp, value, is_nan) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        [(run_id, *each) for each in logged],
    )
    tx.many(
        "INSERT INTO latest_metrics (run_uuid, key, step, timestamp, value, is_nan) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (key, run_uuid) DO UPDATE SET step = excluded.step, timestamp = excluded.timestamp,"
        " value = excluded.value, is_nan = excluded.is_nan WHERE (excluded.step, excluded.timestamp, excluded.value)"
        " > (latest_metrics.step, latest_metrics.timestamp, latest_metrics.value)",
        [(run_id, *each) for each in latest(logged).values()],
    )


def put_on_models(ctx: Ctx, run_id: str, experiment: Obj[Experiment], metrics: Sequence[Metric]) -> None:
    """Metrics that say which logged model they measure are kept with it too; its experiment must let the caller."""
    measured = [metric for metric in metrics if metric.model_id]
    for model_id in dict.fromkeys(str(metric.model_id) for metric in measured):
        require_usable(ctx, experiment, model_id, CAN_EDIT)
    ctx.tx.many(
        "INSERT INTO logged_model_metrics (model_id, metric_name, metric_timestamp_ms, metric_step, metric_value,"
        " experiment_id, run_id, dataset_name, dataset_digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [
            (
                metric.model_id, metric.key, metric.timestamp, metric.step, stored(metric).value, int(experiment.id), run_id,
                metric.dataset_name, metric.dataset_digest,
            )
            for metric in measured
        ],
    )  # fmt: skip
