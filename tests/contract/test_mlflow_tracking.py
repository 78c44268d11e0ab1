"""The unmodified MLflow client, with `MLFLOW_TRACKING_URI=databricks` and a token, against the real server."""

from typing import Any


def test_a_person_logs_a_run_and_reads_it_back(mlflow_as: Any, people: Any) -> None:
    ann = people.person("ann")
    read = mlflow_as(
        ann,
        """
        experiment = mlflow.set_experiment("/Users/ann/first")
        with mlflow.start_run(run_name="one") as run:
            mlflow.log_param("depth", 3)
            mlflow.log_params({"rate": 0.1, "kind": "gbm"})
            for step in range(3):
                mlflow.log_metric("loss", 1.0 / (step + 1), step=step)
            mlflow.log_metrics({"auc": 0.8, "nothing": float("nan"), "endless": float("inf")})
            mlflow.set_tag("team", "risk")
        run = mlflow.get_run(run.info.run_id)
        history = client.get_metric_history(run.info.run_id, "loss")
        answer({
            "status": run.info.status, "name": run.info.run_name, "user": run.info.user_id,
            "params": run.data.params, "metrics": {k: repr(v) for k, v in run.data.metrics.items()},
            "team": run.data.tags["team"], "shown_user": run.data.tags["mlflow.user"],
            "history": [(m.step, m.value) for m in history], "ended": run.info.end_time is not None,
            "found": [r.info.run_name for r in client.search_runs([experiment.experiment_id], "metrics.auc > 0.5")],
        })
        """,
    )
    assert read == {
        "status": "FINISHED",
        "name": "one",
        "user": "ann",
        "params": {"depth": "3", "rate": "0.1", "kind": "gbm"},
        "metrics": {"loss": repr(1 / 3), "auc": "0.8", "nothing": "nan", "endless": "1.7976931348623157e+308"},
        "team": "risk",
        "shown_user": "ann",
        "history": [[0, 1.0], [1, 0.5], [2, 1 / 3]],
        "ended": True,
        "found": ["one"],
    }
