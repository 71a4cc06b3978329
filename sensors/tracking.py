"""Brings MLflow's aliases in line with the registry's switch, whoever has moved it."""

import dagster as dg

from forewarn.config.settings import Settings
from forewarn.stores import model_versions as registry
from sensors.connection import Tick, connected, told_in_the_tick


@dg.sensor(
    minimum_interval_seconds=Settings().lifecycle_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="MLflow's aliases 'champion' and 'shadow' follow the registry, also after a crash in between.",
)
@told_in_the_tick
def reconcile_tracking(context: dg.SensorEvaluationContext) -> Tick:
    """The cursor is the revision that MLflow has; MLflow is loaded only when the registry has moved on."""
    settings = Settings()
    with connected(settings) as connection:
        revision = str(registry.served(connection).revision)
        if revision == (context.cursor or "0"):
            return dg.SkipReason(f"MLflow has revision {revision} of the registry")
        known = registry.versions(connection)
    from monitor_assets.registry.tracking import TrackingError, open_tracking, reconcile

    try:
        done = reconcile(open_tracking(settings), known)
    except TrackingError as error:
        return dg.SkipReason(str(error))
    context.update_cursor(revision)
    return dg.SkipReason("; ".join(done) or f"MLflow is in line with revision {revision}")
