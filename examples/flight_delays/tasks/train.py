"""One candidate, trained on the months before the newest one, its run and model logged to MLflow."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import mlflow
import pyarrow.compute as pc
from flight_delays import candidates, evaluation, tracking, windows, workspace
from flight_delays.features import FEATURES

from lakewright.runtime import tables


def main() -> None:
    names, more = workspace.read_arguments(None, "candidate")
    candidate = candidates.CANDIDATES[more["candidate"]]
    features = tables.read(names.table("ml.lateness_features"))
    span = windows.windows(*pc.min_max(features["judged_at"]).as_py().values())
    rows = windows.training_rows(features, span)
    with tracking.start_run(names, "candidate", more["candidate"]) as run:
        mlflow.log_params({"candidate": more["candidate"], "features": len(FEATURES), **candidate.parameters})
        tracking.log_source(names.table("ml.lateness_features"), rows)
        mlflow.log_params({"training_rows": len(rows), **span.describe()})
        started = time.monotonic()
        estimator = candidates.fit(candidate, rows)
        seen = evaluation.scores(
            candidates.labels(rows), candidates.late_probability(estimator, candidates.inputs(rows))
        )
        mlflow.log_metrics({f"training_{name}": value for name, value in seen.items()})
        mlflow.log_metric("fit_seconds", time.monotonic() - started)
        model_id = tracking.log_model(estimator, candidate, rows)
        mlflow.set_tag(tracking.MODEL_ID, model_id)
    print(f"{more['candidate']}: run {run.info.run_id}, model {model_id}, training AUC {seen['auc']:.3f}")


if __name__ == "__main__":
    main()
