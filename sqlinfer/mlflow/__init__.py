"""MLflow: its models as sources, its registry, a job as one of its runs; knows no SQL and no torch."""

from sqlinfer.mlflow.job_run import record_job
from sqlinfer.mlflow.registration import register_model
from sqlinfer.mlflow.transfer import export_model, import_model

__all__ = ["export_model", "import_model", "record_job", "register_model"]
