"""Project settings: the hook that keeps the MLflow record."""

from account_tax.hooks import TrackRun

HOOKS = (TrackRun(),)
