"""The better candidate against fixed limits and the champion, on the newest month, which no model has seen."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import mlflow
import pyarrow.compute as pc
from flight_delays import candidates, evaluation, release, tracking, windows, workspace

from lakewright.runtime import tables


def main() -> None:
    names = workspace.names()
    features = tables.read(names.table("ml.lateness_features"))
    span = windows.windows(*pc.min_max(features["judged_at"]).as_py().values())
    rows = windows.validation_rows(features, span)
    late, inputs = candidates.labels(rows), candidates.inputs(rows)

    contenders = tracking.runs_of(names, "candidate")
    ids = {run.data.params["candidate"]: run.data.tags[tracking.MODEL_ID] for run in contenders}
    judged = {name: _late_probability(f"models:/{model}", inputs) for name, model in ids.items()}
    best = min(judged, key=lambda name: evaluation.log_losses(late, judged[name]).mean())
    best_run = next(run for run in contenders if run.data.params["candidate"] == best)

    champion = release.champion(names)
    against, days = None, None
    if champion is not None:
        days = evaluation.by_day(rows, late, _late_probability(champion.uri, inputs), judged[best])
        against = evaluation.compare(days)
    overall, by_slice = evaluation.scores(late, judged[best]), evaluation.slices(rows, late, judged[best])
    verdict = evaluation.judge(overall, by_slice, against)
    report = {
        # What the release gate reads; it decides again, by its own rules, from these figures.
        "run_id": best_run.info.run_id,
        "model_id": ids[best],
        "metrics": overall,
        "slices": by_slice,
        "champion": int(champion.version) if champion else None,
        "comparison": {"loss": "log_loss", "blocks": days.rows()} if days else None,
        # What people read.
        "best": best,
        "window": {**span.describe(), "flights": len(rows)},
        "candidates": {name: evaluation.scores(late, probability) for name, probability in judged.items()},
        "gain_over_champion": vars(against) if against else None,
        "passed": verdict.passed,
        "reasons": verdict.reasons,
    }
    with tracking.start_run(names, "evaluation", f"evaluation of {best}") as run:
        mlflow.set_tags({tracking.MODEL_ID: ids[best], "flight_delays.passed": str(verdict.passed).lower()})
        mlflow.log_metrics(overall)
        if against:
            mlflow.log_metrics({"gain": against.gain, "gain_low": against.low, "gain_high": against.high})
        mlflow.log_dict(report, "evaluation.json")
    print(f"{best} (run {run.info.run_id}): AUC {overall['auc']:.3f}, log loss {overall['log_loss']:.4f}")
    for one in by_slice:
        print(f"  {one['slice']}: AUC {one['auc']:.3f}, {one['share_late']:.0%} late of {one['rows']}")
    if against:
        print(
            f"log loss falls by {against.gain:.4f} against version {champion.version} ({against.low:.4f} to {against.high:.4f})"
        )
    if not verdict.passed:
        sys.exit("Not good enough: " + "; ".join(verdict.reasons))


def _late_probability(uri: str, inputs):
    return candidates.late_probability(mlflow.sklearn.load_model(uri), inputs)


if __name__ == "__main__":
    main()
