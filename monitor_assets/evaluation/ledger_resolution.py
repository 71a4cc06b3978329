"""Every prediction gets an outcome once its horizon has passed: proven, counted, and mended where one was left over."""

from datetime import datetime, timedelta

import dagster as dg
import psycopg

from forewarn.evaluation.ledger import Outcome, settled
from forewarn.stores.ledger import PostgresLedger
from monitor_assets.markdown import table
from monitor_assets.scope import TrainingScope

GRACE = timedelta(hours=1)  # of event time, in which the alerter resolves
_COUNTS = """
select coalesce(o.outcome, case when r.expires_at < w.at - %(grace)s then 'overdue' else 'open' end), count(*)
from risks r left join outcomes o using (risk_id)
left join watermarks w
    on w.namespace = case when strpos(r.entity, '/') > 0 then split_part(r.entity, '/', 1) else '' end
group by 1 order by 2 desc
"""


@dg.asset(group_name="watch", kinds={"postgres"}, owners=["team:forewarn"])
def ledger_resolution(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """Predictions of all namespaces by what became of them.

    The alerter resolves each as it reads the log. What it left behind (it was away while its topic was emptied) is
    resolved here by the same rules, an hour of event time later, from the failures that the ledger holds.
    """
    left: list[tuple[str, int]] = []
    with psycopg.connect(scope.postgres_url) as connection:
        ledger = PostgresLedger(connection)
        for namespace, clock in ledger.watermarks().items():
            outcomes = leftovers(ledger, namespace, clock, scope.settings().min_lead_seconds)
            left.append((namespace, ledger.resolve(outcomes)))
        counts = dict(connection.execute(_COUNTS, {"grace": GRACE}).fetchall())
    resolved = sum(n for _, n in left)
    context.log.info("%d predictions, %d open, %d resolved now", sum(counts.values()), counts.get("open", 0), resolved)
    return dg.MaterializeResult(
        metadata={
            "predictions": sum(counts.values()),
            "open": counts.get("open", 0),
            "overdue": counts.get("overdue", 0),
            "resolved now": resolved,
            "by outcome": table(["outcome", "predictions"], counts.items()),
            "left over by namespace": table(["namespace", "resolved now"], left),
        }
    )


def leftovers(ledger: PostgresLedger, namespace: str, clock: datetime, min_lead_seconds: float) -> list[Outcome]:
    """Outcomes of what is overdue by more than GRACE."""
    overdue = ledger.overdue(namespace, None, clock - GRACE)
    return settled(
        overdue,
        lambda p: ledger.failure_times(p.entity, p.signal, p.predicted_at, p.expires_at),
        clock,
        min_lead_seconds,
    )


@dg.asset_check(asset=ledger_resolution, description="No prediction whose horizon has passed is without an outcome.")
def every_passed_prediction_has_an_outcome(scope: TrainingScope) -> dg.AssetCheckResult:
    """Event time counts: while a namespace sends nothing, its clock stands and nothing expires."""
    with psycopg.connect(scope.postgres_url) as connection:
        counts = dict(connection.execute(_COUNTS, {"grace": GRACE}).fetchall())
    overdue = counts.get("overdue", 0)
    return dg.AssetCheckResult(passed=overdue == 0, metadata={"overdue": overdue, "open": counts.get("open", 0)})
