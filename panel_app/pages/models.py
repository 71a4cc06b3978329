"""Models: which one serves and why, how it does beside its shadow and its budget, and what the reports say."""

from functools import cache
from typing import Any

import psycopg

from forewarn.config.settings import Settings
from forewarn.detection.false_alarm_budget import FalseAlarmBudget
from forewarn.stores.views import ModelLife, ModelsView, model_life, models_view
from forewarn.stores.views.model_life import HealthPoint, SmokeResult
from forewarn.stores.views.models import ModelVersion, Report
from panel_app import words
from panel_app.pages import model_charts
from panel_app.pages.page import Arguments, Page
from panel_app.rendering import Frame, render

LOWER_IS_BETTER = ("brier", "loss", "error", "pinball", "false_alarms", "_ece", "crps")
SECTIONS = (
    "champion",
    "shadow",
    "health_note",
    "alerts_note",
    "budget_note",
    "smoke",
    "versions",
    "reports",
    "decisions",
)


def produce(connection: psycopg.Connection[Any], arguments: Arguments) -> Frame:
    """The page from the stores."""
    return frame(models_view(connection), model_life(connection), budget_words())


@cache
def budget_words() -> str:
    """The budget of false alarms as the settings say it."""
    return Settings().false_alarm_budget


def frame(view: ModelsView, life: ModelLife, said: str) -> Frame:
    """The page as HTML and chart columns. said: the budget of false alarms in words."""
    champion, shadow = (next((v for v in view.versions if v.stage == s), None) for s in ("champion", "shadow"))
    names = sorted({name for v in view.versions for name in v.metrics})
    budget = budget_of(said)
    variables = {
        "view": view,
        "life": life,
        "champion": champion,
        "shadow": shadow,
        "live": {row.model_version: row for row in life.live},
        "metrics": metrics(champion) if champion else [],
        "others": [v for v in view.versions if v is not champion],
        "names": names[:6],
        "value": metric_value,
        "health": {role: health(life.health, role) for role in model_charts.ROLES},
        "said": said,
        "budget": budget,
        "false_pages": sum(look.false_pages for look in life.looks),
        "allowed": budget.allowed(sum(look.service_seconds for look in life.looks)) if budget else None,
        "smoke": smoke(life.smoke),
        "newest": newest(view.reports),
    }
    data = model_charts.health_columns(life.health)
    data["budget"] = model_charts.budget_columns(life.looks, budget) if budget else {}
    return Frame({name: render(f"models_{name}.html", **variables) for name in SECTIONS}, data)


def budget_of(said: str) -> FalseAlarmBudget | None:
    """None where the words name no budget ('none')."""
    try:
        return FalseAlarmBudget.parse(said)
    except ValueError:
        return None


def health(points: tuple[HealthPoint, ...], role: str) -> dict[str, Any] | None:
    """Sums over the minutes of a role; None where there are none."""
    own = [p for p in points if p.role == role]
    if not own:
        return None
    slow = [p.p99_seconds for p in own if p.p99_seconds is not None]
    errors = [p.last_error for p in own if p.last_error]
    return {
        "rows": sum(p.rows for p in own),
        "errors": sum(p.errors for p in own),
        "opened": sum(p.opened for p in own),
        "dropped": sum(p.dropped for p in own),
        "slowest": max(slow, default=None),
        "last_error": errors[-1] if errors else "",
    }


def smoke(results: tuple[SmokeResult, ...]) -> dict[str, list[SmokeResult]]:
    """Results by service, the one that sees least first."""
    found: dict[str, list[SmokeResult]] = {}
    for result in results:
        found.setdefault(result.entity, []).append(result)

    def share(entity: str) -> float:
        return sum(r.detected for r in found[entity]) / max(sum(r.injected for r in found[entity]), 1)

    return {entity: found[entity] for entity in sorted(found, key=lambda e: (share(e), e))}


def newest(reports: tuple[Report, ...]) -> list[Report]:
    """The newest report of each kind."""
    kinds: dict[str, Report] = {}
    for report in reports:
        kinds.setdefault(report.kind, report)
    return [kinds[kind] for kind in sorted(kinds)]


def metrics(version: ModelVersion) -> list[dict[str, Any]]:
    """Each metric with its baselines, as text, and bars in percent of the largest of them."""
    found = []
    for name, entry in sorted(version.metrics.items()):
        entry = entry if isinstance(entry, dict) else {"value": entry}
        baselines = entry.get("baselines") or {}
        pairs = [("this model", entry.get("value")), *baselines.items()]
        numbers = [(n, float(v)) for n, v in pairs if isinstance(v, int | float)]
        largest = max((abs(v) for _, v in numbers), default=0.0) or 1.0
        bars = [{"name": n, "text": number(name, v), "width": round(abs(v) / largest * 100)} for n, v in numbers]
        lower = any(part in name for part in LOWER_IS_BETTER)
        found.append({"title": words.title(name.removesuffix("_seconds")), "bars": bars, "lower": lower})
    return found


def metric_value(version: ModelVersion, name: str) -> str:
    """A metric of a version as text, '–' where it has none."""
    entry = version.metrics.get(name)
    value = entry.get("value") if isinstance(entry, dict) else entry
    return number(name, float(value)) if isinstance(value, int | float) else "–"


def number(metric: str, value: float) -> str:
    """A metric's value; names that end in seconds are durations."""
    return words.duration(value) if metric.endswith("_seconds") else f"{value:.3g}"


PAGE = Page("models", "/models", "Models", SECTIONS, produce, every=5.0, charts=model_charts.build_charts)
