"""Gives a shadow the champion's place, or ends it, where `judge_shadow` says so."""

import json
from datetime import timedelta
from typing import Any

import dagster as dg
import psycopg

from forewarn.config.settings import Settings
from forewarn.evaluation.lifecycle.shadow import Decision, ShadowPolicy, ShadowVerdict, judge_shadow
from forewarn.stores import model_versions as registry
from forewarn.stores import shadow_predictions
from forewarn.stores.lifecycle.shadowing import ShadowEvidence, progress, shadow_evidence
from forewarn.stores.model_versions import Served
from sensors.connection import ACTOR, Tick, connected, told_in_the_tick

KEPT = timedelta(days=90)  # predictions of shadows that are over, for `forewarn models compare`
LOOK_EVERY_SECONDS = 3600.0  # of event time; a failure is looked at at once


@dg.sensor(
    minimum_interval_seconds=Settings().lifecycle_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Promotes the shadow when it is shown to be better than the champion on the same predictions and "
    "worse for no group of entities; ends it when it is worse, or has not shown itself better in time.",
    asset_selection=[dg.AssetKey("champion_model"), dg.AssetKey("candidate_model")],
)
@told_in_the_tick
def promote_shadow(context: dg.SensorEvaluationContext) -> Tick:
    """The registry changes in the tick itself: a run would take half a minute to start."""
    settings = Settings()
    with connected(settings) as connection:
        served = registry.served(connection)
        if served.shadow is None:
            return dg.SkipReason("no shadow: nothing to promote")
        seen = f"{served.revision}/{progress(connection, served.shadow, LOOK_EVERY_SECONDS)}"
        before = json.loads(context.cursor) if context.cursor else {}
        if before.get("seen") == seen:
            return dg.SkipReason(f"nothing new since: {before['reason']}")
        evidence = shadow_evidence(
            connection,
            served.champion or _first_day(),
            served.shadow,
            timedelta(seconds=settings.incident_window_seconds),
            settings.min_lead_seconds,
        )
        verdict = judge_shadow(evidence.pairs, evidence.told_by_shadow, evidence.told_by_champion, policy(settings))
        _carry_out(connection, served, verdict)
        if verdict.decision != Decision.WAIT:
            shadow_predictions.prune(connection, KEPT)
    context.log.info(verdict.reason)
    return dg.SensorResult(
        skip_reason=f"{verdict.decision}: {verdict.reason}",
        cursor=json.dumps({"seen": seen, "reason": verdict.reason}),
        asset_events=_events(evidence, verdict),
    )


def policy(settings: Settings) -> ShadowPolicy:
    """What the operator chose."""
    return ShadowPolicy(settings.shadow_min_incidents, most=timedelta(days=settings.shadow_max_days))


def _carry_out(connection: psycopg.Connection[Any], served: Served, verdict: ShadowVerdict) -> None:
    assert served.shadow is not None
    if verdict.decision == Decision.PROMOTE:
        registry.promote(connection, served.shadow, ACTOR, verdict.reason, served.revision)
    elif verdict.decision == Decision.WITHHOLD:
        registry.withhold(connection, served.shadow, ACTOR, verdict.reason, served.revision)
    else:
        registry.note(connection, served.shadow, registry.Stage.SHADOW, f"in shadow: {verdict.reason}")


def _events(
    evidence: ShadowEvidence, verdict: ShadowVerdict
) -> list[dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation]:
    if verdict.decision == Decision.WAIT:
        return []
    pairs, d = evidence.pairs, verdict.difference
    metadata = {
        "shadow": evidence.shadow,
        "champion before": evidence.champion,
        "reason": verdict.reason,
        "incidents": pairs.incidents,
        "rows": len(pairs.failed),
        "Brier difference": d.mean if d else float("nan"),
        "incidents foreseen": f"{len(evidence.told_by_shadow.predicted)}, champion "
        f"{len(evidence.told_by_champion.predicted)}",
        "false alarms": f"{evidence.told_by_shadow.false}, champion {evidence.told_by_champion.false}",
    }
    if verdict.decision == Decision.PROMOTE:
        return [dg.AssetMaterialization("champion_model", description="promoted from shadow", metadata=metadata)]
    return [dg.AssetObservation("candidate_model", description="withheld", metadata=metadata)]


def _first_day() -> str:
    """What serves where there is no champion."""
    from forewarn.risk.first_day import FirstDayScorer

    return FirstDayScorer().version
