"""False pages beside their budget, and how far the threshold of paging is raised to keep it."""

import dagster as dg
import psycopg

from forewarn.detection.false_alarm_budget import EXAMPLE, WEEK, FalseAlarmBudget
from forewarn.stores import alarm_control
from monitor_assets.evaluation.ledger_resolution import ledger_resolution
from monitor_assets.markdown import table
from monitor_assets.scope import TrainingScope

_RECENT = """
select to_char(at, 'YYYY-MM-DD HH24:MI'), false_pages, service_seconds, raised, reason from alarm_control
order by control_id desc limit 20
"""


@dg.asset(deps=[ledger_resolution], group_name="watch", kinds={"postgres"}, owners=["team:forewarn"])
def alarm_budget(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """Counts what turned out false since the last look and moves the threshold of paging; the predictor takes it up
    within seconds. It never falls below the threshold that training chose."""
    words = scope.settings().false_alarm_budget
    budget = FalseAlarmBudget.parse(EXAMPLE if words.strip().lower() == "none" else words)
    with psycopg.connect(scope.postgres_url) as connection:
        found = alarm_control.look(connection, budget)
        recent = connection.execute(_RECENT).fetchall()
    false, seconds = sum(row[1] for row in recent), sum(row[2] for row in recent)
    context.log.info(found.reason)
    return dg.MaterializeResult(
        metadata={
            "reason": found.reason,
            "raised (log-odds)": found.after.raised,
            "false pages per service and week, recent": false / (seconds / WEEK) if seconds else 0.0,
            "budget per service and week": budget.per_entity_week,
            "recent": table(["at", "false pages", "service-seconds", "raised", "reason"], recent),
        }
    )


@dg.asset_check(asset=alarm_budget, description="The control has room: the threshold is not raised as far as it goes.")
def the_budget_can_be_kept(scope: TrainingScope) -> dg.AssetCheckResult:
    """Where it has none, the model is of no use any more: train again, or roll back."""
    from forewarn.evaluation.alarm_control import MOST

    with psycopg.connect(scope.postgres_url) as connection:
        raised = alarm_control.current(connection).raised
    return dg.AssetCheckResult(
        passed=raised < 0.9 * MOST, severity=dg.AssetCheckSeverity.WARN, metadata={"raised": raised, "most": MOST}
    )
