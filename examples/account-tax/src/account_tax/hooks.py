"""MLflow tracking in a SQLite file, begun and ended by the run itself."""

from __future__ import annotations

import os
from typing import Any

from kedro.framework.hooks import hook_impl

STORE = "sqlite:///mlflow.db"


class TrackRun:
    """One MLflow run a pipeline run; the Trainer's own callback writes its curves into it."""

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Open the store and the run; MLFLOW_TRACKING_URI, where it is set, names another store."""
        import mlflow

        uri = os.environ.setdefault("MLFLOW_TRACKING_URI", STORE)
        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment("account-tax")
        mlflow.start_run(run_name=run_params.get("run_id") or run_params.get("session_id"))

    @hook_impl
    def after_node_run(self, node: Any, outputs: dict[str, Any]) -> None:
        """The final figures."""
        import mlflow

        if node.name == "evaluate_model":
            mlflow.log_metrics({f"final_{name}": value for name, value in outputs["metrics"].items()})

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Close the run."""
        import mlflow

        mlflow.end_run()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Close the run as failed."""
        import mlflow

        mlflow.end_run(status="FAILED")
