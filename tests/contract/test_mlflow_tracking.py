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


def test_artifacts_go_up_come_back_and_are_listed(mlflow_as: Any, people: Any, server: Any) -> None:
    seen = mlflow_as(
        people.person("ann"),
        """
        import os, pathlib, tempfile
        mlflow.set_experiment("/Users/ann/files")
        with mlflow.start_run() as run:
            mlflow.log_text("hello", "notes/a b.txt")
            mlflow.log_dict({"a": 1}, "config.json")
            folder = pathlib.Path(tempfile.mkdtemp())
            (folder / "deep" / "er").mkdir(parents=True)
            (folder / "deep" / "er" / "x.bin").write_bytes(bytes(range(256)) * 5000)
            mlflow.log_artifacts(str(folder), "tree")
            mlflow.log_text("hello again", "notes/a b.txt")
        run_id = run.info.run_id
        down = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="tree", dst_path=tempfile.mkdtemp())
        answer({
            "top": sorted(f.path for f in client.list_artifacts(run_id)),
            "notes": [(f.path, f.is_dir, f.file_size) for f in client.list_artifacts(run_id, "notes")],
            "text": mlflow.artifacts.load_text(f"runs:/{run_id}/notes/a b.txt"),
            "dict": mlflow.artifacts.load_dict(f"runs:/{run_id}/config.json"),
            "size": os.path.getsize(os.path.join(down, "deep", "er", "x.bin")),
            "none": [f.path for f in client.list_artifacts(run_id, "nothing")],
            "uri": run.info.artifact_uri.replace(run_id, "RUN"),
        })
        """,
    )
    assert seen["uri"].startswith("dbfs:/databricks/mlflow-tracking/")
    del seen["uri"]
    assert seen == {
        "top": ["config.json", "notes", "tree"],
        "notes": [["notes/a b.txt", False, 11]],
        "text": "hello again",
        "dict": {"a": 1},
        "size": 256 * 5000,
        "none": [],
    }


def test_a_logged_model_is_found_loaded_and_tied_to_its_run(mlflow_as: Any, people: Any) -> None:
    seen = mlflow_as(
        people.person("ann"),
        """
        import pandas as pd
        from sklearn.linear_model import LogisticRegression
        experiment = mlflow.set_experiment("/Users/ann/models")
        data = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0]})
        model = LogisticRegression().fit(data, [0, 0, 1, 1])
        with mlflow.start_run() as run:
            mlflow.log_input(mlflow.data.from_pandas(data, name="points"), context="training")
            logged = mlflow.sklearn.log_model(
                model, name="clf", input_example=data.head(2), pip_requirements=["scikit-learn"], params={"c": 1}
            )
            mlflow.log_metric("auc", 0.9, model_id=logged.model_id)
        loaded = mlflow.pyfunc.load_model(f"models:/{logged.model_id}")
        run = mlflow.get_run(run.info.run_id)
        found = mlflow.search_logged_models([experiment.experiment_id], "metrics.auc > 0.5", output_format="list")
        read = mlflow.get_logged_model(logged.model_id)
        client.set_logged_model_tags(logged.model_id, {"stage": "try"})
        answer({
            "predicted": [int(v) for v in loaded.predict(data)], "found": [m.name for m in found],
            "status": str(read.status), "metrics": [(m.key, m.value) for m in read.metrics], "params": read.params,
            "outputs": [o.model_id == logged.model_id for o in run.outputs.model_outputs],
            "dataset": [d.dataset.name for d in run.inputs.dataset_inputs],
            "tag": mlflow.get_logged_model(logged.model_id).tags["stage"],
            "by_dataset": len(client.search_runs([experiment.experiment_id], "dataset.name = 'points'")),
        })
        """,
    )
    assert seen == {
        "predicted": [0, 0, 1, 1],
        "found": ["clf"],
        "status": "READY",
        "metrics": [["auc", 0.9]],
        "params": {"c": "1"},
        "outputs": [True],
        "dataset": ["points"],
        "tag": "try",
        "by_dataset": 1,
    }


def test_a_trace_is_kept_found_and_read_back(mlflow_as: Any, people: Any) -> None:
    seen = mlflow_as(
        people.person("ann"),
        """
        experiment = mlflow.set_experiment("/Users/ann/traces")

        @mlflow.trace(name="answer", attributes={"kind": "demo"})
        def respond(question):
            with mlflow.start_span("look up") as span:
                span.set_inputs({"q": question})
            return question.upper()

        respond("hello")
        respond("world")
        mlflow.flush_trace_async_logging()
        found = client.search_traces(locations=[experiment.experiment_id], order_by=["timestamp_ms ASC"])
        first = found[0]
        client.set_trace_tag(first.info.trace_id, "judged", "good")
        tagged = client.search_traces(locations=[experiment.experiment_id], filter_string="tags.judged = 'good'")
        read = client.get_trace(first.info.trace_id)
        client.delete_traces(experiment.experiment_id, trace_ids=[found[1].info.trace_id])
        answer({
            "responses": [t.data.response for t in found], "spans": sorted(s.name for s in read.data.spans),
            "state": first.info.state.value, "tagged": [t.info.trace_id == first.info.trace_id for t in tagged],
            "name": read.info.tags["mlflow.traceName"],
            "left": len(client.search_traces(locations=[experiment.experiment_id])),
        })
        """,
    )
    assert seen == {
        "responses": ['"HELLO"', '"WORLD"'],
        "spans": ["answer", "look up"],
        "state": "OK",
        "tagged": [True],
        "name": "answer",
        "left": 1,
    }
