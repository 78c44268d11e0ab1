"""The candidate that passed becomes a version of the model, and the platform's own gate judges it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import mlflow
from flight_delays import release, tracking, workspace


def main() -> None:
    names = workspace.names()
    (evaluation,) = tracking.runs_of(names, "evaluation")
    model_id, evaluation_run = evaluation.data.tags[tracking.MODEL_ID], evaluation.info.run_id
    tags = {tracking.JOB_RUN: names.job_run, release.EVALUATION_TAG: evaluation_run}
    made = mlflow.register_model(f"models:/{model_id}", names.model, tags=tags)
    print(f"{names.model} version {made.version} from model {model_id}")

    verdict = release.judge(names, int(made.version), evaluation_run)
    for outcome in verdict["outcomes"]:
        print(f"  {'passed' if outcome['passed'] else 'FAILED'}  {outcome['check']}: {outcome['because']}")
    if not verdict["passed"]:
        sys.exit("The gate refuses it: " + "; ".join(verdict["reasons"]))

    workspace.set_task_value("version", str(made.version))


if __name__ == "__main__":
    main()
