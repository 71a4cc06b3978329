"""Which model serves: the candidate, if it beats the simple methods and the champion on the same days."""

import dagster as dg

from bentos import model_store
from forewarn.evaluation.backtest import Stretch, backtest
from forewarn.evaluation.promotion import Standing, should_promote
from forewarn.evaluation.split import Part
from forewarn.risk.bundle import BundleError, load_bundle
from monitor_assets.registry.candidate_model import NAME as CANDIDATE
from monitor_assets.registry.candidate_model import candidate_model
from monitor_assets.registry.model_versions import champion, promote, withhold
from monitor_assets.scope import TrainingScope
from monitor_assets.training.parts import stretch_of


@dg.asset(deps=[candidate_model], group_name="registry", kinds={"postgres"}, owners=["team:forewarn"])
def champion_model(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """Promotes the candidate or leaves it, and says why; the predictor takes up a new champion within seconds."""
    history = scope.history()
    version = history.read_json(CANDIDATE)["version"]
    stretch = stretch_of(history, history.read_windows(), Part(*history.read_json("split")["test"]))
    candidate = backtest(load_bundle(model_store.get(version).path).scorer(), stretch).standing()
    before = champion(scope.postgres_url)
    verdict = should_promote(candidate, _standing(context, before, stretch) if before != version else None)
    if verdict.yes:
        promote(scope.postgres_url, version, verdict.reason)
    else:
        withhold(scope.postgres_url, version, verdict.reason)
    serves = version if verdict.yes else before
    context.log.info("%s %s: %s", "promoted" if verdict.yes else "not promoted", version, verdict.reason)
    return dg.MaterializeResult(
        metadata={
            "candidate": version,
            "promoted": verdict.yes,
            "reason": verdict.reason,
            "champion": serves or "none: the first-day trend serves",
            "before": before or "none",
            "dashboard": dg.MetadataValue.url(f"{scope.settings().public_url}/models"),
        }
    )


def _standing(context: dg.AssetExecutionContext, version: str | None, stretch: Stretch) -> Standing | None:
    """What the champion reaches on the candidate's test interval; None where there is none that can be loaded."""
    if version is None:
        return None
    try:
        return backtest(load_bundle(model_store.get(version).path).scorer(), stretch).standing()
    except BundleError as error:
        context.log.warning("the champion cannot be compared: %s", error)
        return None
