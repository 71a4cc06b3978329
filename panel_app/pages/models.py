"""Models: which one serves and why, how the others compare, and what the reports say."""

from typing import Any

import psycopg

from forewarn.stores.views import ModelsView, models_view
from forewarn.stores.views.models import ModelVersion
from panel_app import words
from panel_app.pages.page import Arguments, Page
from panel_app.rendering import Frame, render

LOWER_IS_BETTER = ("brier", "loss", "error", "pinball", "false_alarms", "_ece", "crps")
SECTIONS = ("champion", "versions", "reports", "decisions")


def produce(connection: psycopg.Connection[Any], arguments: Arguments) -> Frame:
    """The page from the stores."""
    return frame(models_view(connection))


def frame(view: ModelsView) -> Frame:
    """The page as HTML."""
    champion = next((v for v in view.versions if v.stage == "champion"), None)
    others = [v for v in view.versions if v is not champion]
    names = sorted({name for v in view.versions for name in v.metrics})
    variables = {
        "view": view,
        "champion": champion,
        "metrics": metrics(champion) if champion else [],
        "others": others,
        "names": names[:6],
        "value": metric_value,
    }
    return Frame({name: render(f"models_{name}.html", **variables) for name in SECTIONS})


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


PAGE = Page("models", "/models", "Models", SECTIONS, produce, every=3.0)
