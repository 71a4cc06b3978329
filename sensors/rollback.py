"""Goes back to the champion before where `should_roll_back` says that this one is broken."""

from datetime import UTC, datetime

import dagster as dg

from forewarn.config.settings import Settings
from forewarn.evaluation.lifecycle.rollback import should_roll_back
from forewarn.stores import model_versions as registry
from forewarn.stores.lifecycle.serving import serving_state
from sensors.connection import ACTOR, Tick, connected, told_in_the_tick


@dg.sensor(
    minimum_interval_seconds=Settings().lifecycle_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Rolls back a champion that cannot be loaded, fails, is slow, floods, falls silent or is wrong.",
    asset_selection=[dg.AssetKey("champion_model")],
)
@told_in_the_tick
def roll_back_champion(context: dg.SensorEvaluationContext) -> Tick:
    """The registry changes in the tick itself: a broken champion does not wait for a run to start."""
    with connected(Settings()) as connection:
        served = registry.served(connection)
        if served.champion is None:
            return dg.SkipReason("no champion: the first-day model serves")
        state = serving_state(connection, datetime.now(UTC), why_refused(served.champion))
        if state is None:
            return dg.SkipReason("the champion has just gone")
        verdict = should_roll_back(state)
        if not verdict.yes:
            return dg.SkipReason(f"champion {served.champion} is well: {verdict.reason}")
        change = registry.roll_back(connection, ACTOR, verdict.reason, served.revision)
    context.log.warning("%s rolled back: %s", served.champion, verdict.reason)
    serves = change.after.champion or "none: the first-day model serves"
    metadata = {"rolled back": served.champion, "champion": serves, "reason": verdict.reason}
    return dg.SensorResult(
        skip_reason=f"rolled back {served.champion} to {serves}: {verdict.reason}",
        asset_events=[dg.AssetMaterialization("champion_model", description="rolled back", metadata=metadata)],
    )


def why_refused(version: str) -> str:
    """Why the files of a version cannot be loaded; '' where they are as they were saved."""
    from bentos import model_store
    from forewarn.risk.bundle import BundleError

    try:
        model_store.verify(version)
    except BundleError as error:
        return str(error)
    return ""
