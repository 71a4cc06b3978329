"""Would we have seen it here? Synthetic degradations in a copy of each service's recent stream."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import jinja2
import psycopg

from forewarn.evaluation.smoke import Seen, SmokeVerdict, summarised, trials, works
from forewarn.features.definitions import COARSE_STEPS
from forewarn.risk.paging_threshold import raised_threshold
from forewarn.risk.scorer import Scorer, TrainedScorer
from forewarn.stores import alarm_control
from monitor_assets.drift.drift_report import serving_scorer
from monitor_assets.features.signal_windows import signal_windows
from monitor_assets.history import SignalWindows
from monitor_assets.markdown import table
from monitor_assets.registry.reports import record_report
from monitor_assets.scope import TrainingScope

RECENT_CELLS = 3 * 1440
_RUNS = """
select model_version, sum(injected)::int, sum(detected)::int from smoke_results
where case when %(ns)s = '' then strpos(entity, '/') = 0 else starts_with(entity, %(ns)s || '/') end
group by model_version, run_id order by min(at)
"""
_INSERT = """
insert into smoke_results (run_id, model_version, entity, kind, injected, detected, median_lead_seconds)
values (%s, %s, %s, %s, %s, %s, %s)
"""
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Smoke test of {{ namespace }}</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d2733}
table{border-collapse:collapse}td,th{padding:.3rem .8rem;border-bottom:1px solid #dde3e8;text-align:right}
td:first-child,th:first-child{text-align:left}.no{color:#b3403c}</style></head><body>
<h1>Would we have seen it here?</h1><p>Model {{ version }}, {{ at }}. Leaks, creeping pools and bursts of logs were
added to copies of the last days of each service; nothing of it left this machine.</p>
<p class="{{ '' if verdict.works else 'no' }}">
<b>{{ 'The detector works.' if verdict.works else 'Look at the detector.' }}</b> {{ verdict.reason }}.</p>
<table><tr><th>service</th><th>degradation</th><th>tried</th><th>seen</th><th>median lead</th></tr>
{% for s in rows %}<tr><td>{{ s.entity }}</td><td>{{ s.kind.replace('_', ' ') }}</td><td>{{ s.injected }}</td>
<td{{ ' class=no' if s.detected < s.injected / 2 }}>{{ s.detected }}</td>
<td>{{ '–' if s.detected == 0 else '%.0f min' % (s.median_lead_steps * step / 60) }}</td></tr>{% endfor %}
</table></body></html>
"""


@dg.asset(deps=[signal_windows], group_name="watch", kinds={"numpy", "postgres"}, owners=["team:forewarn"])
def smoke_test(context: dg.AssetExecutionContext, scope: TrainingScope) -> dg.MaterializeResult:
    """Detection probability and median lead of each service for leaks, pool creep and log bursts, by the model that
    serves, at the threshold that it pages at."""
    with psycopg.connect(scope.postgres_url) as connection:
        raised = alarm_control.current(connection).raised
    scorer = _raised(serving_scorer(scope), raised)
    history = scope.history()
    seen, verdict = run_smoke_test(scope.postgres_url, scope.namespace, history.read_windows(), scorer)
    history.write_json("smoke_test", {"works": verdict.works, "reason": verdict.reason})
    path = scope.home / "reports" / f"smoke-{scope.namespace or '_'}-{datetime.now(UTC):%Y%m%d-%H%M%S}.html"
    _write_page(path, scope, scorer.version, seen, verdict)
    injected, detected = sum(s.injected for s in seen), sum(s.detected for s in seen)
    record_report(scope, "smoke", path, {"namespace": scope.namespace, "injected": injected, "detected": detected})
    context.log.info(verdict.reason)
    minutes = scope.step_seconds / 60
    rows = [(s.entity, s.kind, s.injected, s.detected, s.median_lead_steps * minutes) for s in seen]
    return dg.MaterializeResult(
        metadata={
            "model": scorer.version,
            "detection probability": detected / injected if injected else float("nan"),
            "verdict": verdict.reason,
            "services": table(["service", "degradation", "tried", "seen", "median lead (min)"], rows),
            "report": dg.MetadataValue.path(str(path)),
        }
    )


def run_smoke_test(
    postgres_url: str, namespace: str, windows: SignalWindows, scorer: Scorer, seed: int | None = None
) -> tuple[list[Seen], SmokeVerdict]:
    """Try, keep the results, and judge the scorer by all of its runs. `seed`: by the clock without one."""
    run = uuid.uuid4()
    cells = windows.cells.shape[1]
    first = max(cells - RECENT_CELLS, 0) // COARSE_STEPS * COARSE_STEPS
    recent, limits = windows.cells[:, first:], windows.limits[:, first:]
    drawn = run.int % 2**32 if seed is None else seed
    seen = summarised(trials(scorer, windows.series, recent, limits, drawn))
    step = windows.step_seconds
    with psycopg.connect(postgres_url) as connection:
        for s in seen:
            lead = s.median_lead_steps * step if s.detected else None
            connection.execute(_INSERT, (run, scorer.version, s.entity, s.kind, s.injected, s.detected, lead))
        rows = connection.execute(_RUNS, {"ns": namespace}).fetchall()
    own = [(n, k) for version, n, k in rows if version == scorer.version]
    others = [(n, k) for version, n, k in rows if version != scorer.version]
    return seen, works(own, (sum(n for n, _ in others), sum(k for _, k in others)))


def _raised(scorer: Scorer, raised: float) -> Scorer:
    """The model that serves, at the threshold that it pages at."""
    if not isinstance(scorer, TrainedScorer):
        return scorer
    return replace(scorer, threshold=raised_threshold(scorer.threshold, raised))


def _write_page(path: Path, scope: TrainingScope, version: str, seen: list[Seen], verdict: SmokeVerdict) -> None:
    page = jinja2.Environment(autoescape=True).from_string(_PAGE)
    path.parent.mkdir(parents=True, exist_ok=True)
    at, step = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", scope.step_seconds
    told = {"namespace": scope.namespace, "version": version, "at": at, "step": step}
    path.write_text(page.render(rows=seen, verdict=verdict, **told))


@dg.asset_check(asset=smoke_test, description="The model that serves sees the degradations that it should.")
def the_detector_sees_smoke(scope: TrainingScope) -> dg.AssetCheckResult:
    """At least half of them, and not markedly fewer than the models before it."""
    found = scope.history().read_json("smoke_test")
    return dg.AssetCheckResult(passed=found["works"], description=found["reason"])
