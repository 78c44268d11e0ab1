# Databricks notebook source
# MAGIC %md
# MAGIC # Where does the model do well, and where not?
# MAGIC The evaluation of this run, slice by slice. Whoever has to approve the version reads this.

# COMMAND ----------
dbutils.widgets.text("catalog", "flights")
dbutils.widgets.text("experiment", "/Shared/flight_delays_local")
dbutils.widgets.text("job_run", "")

# COMMAND ----------
import mlflow
import pandas as pd

experiment = mlflow.get_experiment_by_name(dbutils.widgets.get("experiment"))
of_this_run = (
    f"tags.`flight_delays.job_run` = '{dbutils.widgets.get('job_run')}' and tags.`flight_delays.role` = 'evaluation'"
)
(run,) = mlflow.MlflowClient().search_runs([experiment.experiment_id], of_this_run)
evaluation = mlflow.artifacts.load_dict(f"runs:/{run.info.run_id}/evaluation.json")

# COMMAND ----------
slices = pd.DataFrame(evaluation["slices"])[["slice", "rows", "share_late", "auc", "log_loss", "calibration_error"]]
display(slices.sort_values("auc").round(3))

# COMMAND ----------
weakest = slices.sort_values("auc").iloc[0]
dbutils.notebook.exit(f"weakest slice: {weakest['slice']} (AUC {weakest['auc']:.3f} on {weakest['rows']} flights)")
