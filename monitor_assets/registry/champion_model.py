"""What becomes of the candidate: champion, shadow or neither, by the same days for it, champion and simple methods."""

import dagster as dg
import psycopg

from bentos import model_store
from forewarn.evaluation.backtest import Stretch, backtest
from forewarn.evaluation.promotion import Standing, Verdict, should_promote
from forewarn.evaluation.split import Part
from forewarn.risk.bundle import BundleError
from forewarn.stores import model_versions as registry
from forewarn.stores.model_versions import Served
from monitor_assets.registry.candidate_model import NAME as CANDIDATE
from monitor_assets.registry.candidate_model import candidate_model
from monitor_assets.registry.tracking import TrackingError, open_tracking, reconcile
from monitor_assets.scope import TrainingScope
from monitor_assets.training import failure_model as failures
from monitor_assets.training.parts import stretch_of

ACTOR = "dagster"


@dg.asset(deps=[candidate_model], group_name="registry", kinds={"postgres", "mlflow"}, owners=["team:forewarn"])
def champion_model(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """Judges the candidate on the test interval, and says why.

    The first that passes serves at once; a later one shadows the champion until the sensor `promote_shadow` has seen
    enough of both (FOREWARN_PROMOTION=direct: it serves at once, too). The predictor takes up either within seconds.
    """
    history = scope.history()
    version = history.read_json(CANDIDATE)["version"]
    with psycopg.connect(scope.postgres_url, autocommit=True) as connection:
        before = registry.served(connection)
        stretch = stretch_of(history, history.read_windows(), Part(*history.read_json("split")["test"]))
        result = backtest(model_store.load(version).scorer(), stretch)
        candidate, whole = result.standing(), result.standing(failures.load(history).unseen)
        rival = _standing(context, before.champion, stretch) if before.champion != version else None
        verdict = should_promote(candidate, rival, whole)
        direct = before.champion is None or rival is None or scope.settings().promotion == "direct"
        done = settle(connection, before, version, verdict, direct)
        after, known = registry.served(connection), registry.versions(connection)
    context.log.info("%s %s: %s", done, version, verdict.reason)
    return dg.MaterializeResult(
        metadata={
            "candidate": version,
            "decision": done,
            "reason": verdict.reason,
            "champion": after.champion or "none: the first-day model serves",
            "shadow": after.shadow or "none",
            "before": before.champion or "none",
            "MLflow": follow(context, scope, known),
            "dashboard": dg.MetadataValue.url(f"{scope.settings().public_url}/models"),
        }
    )


def settle(
    connection: psycopg.Connection, before: Served, version: str, verdict: Verdict, direct: bool
) -> str:  # fmt: skip
    """Carry out the verdict of the offline gate; what was done."""
    if version in (before.champion, before.shadow):
        return f"already {'champion' if version == before.champion else 'shadow'}"
    if not verdict.yes:
        registry.withhold(connection, version, ACTOR, verdict.reason)
        return "withheld"
    if direct:
        registry.promote(connection, version, ACTOR, verdict.reason)
        return "promoted"
    registry.begin_shadow(connection, version, ACTOR, verdict.reason)
    return "shadows the champion"


def follow(context: dg.AssetExecutionContext, scope: TrainingScope, known: list[registry.Version]) -> str:
    """Bring MLflow's aliases in line; what was done, or why not: the sensor `reconcile_tracking` tries again."""
    try:
        return "; ".join(reconcile(open_tracking(scope.settings()), known)) or "in line"
    except TrackingError as error:
        context.log.warning("%s", error)
        return str(error)


def _standing(context: dg.AssetExecutionContext, version: str | None, stretch: Stretch) -> Standing | None:
    """What the champion reaches on the candidate's test interval; None where there is none that can be loaded."""
    if version is None:
        return None
    try:
        return backtest(model_store.load(version).scorer(), stretch).standing()
    except BundleError as error:
        context.log.warning("the champion cannot be compared: %s", error)
        return None
