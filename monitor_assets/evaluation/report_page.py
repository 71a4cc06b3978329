"""The backtest as one HTML file with pictures in it."""

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from forewarn.classification.explanation import phrase
from forewarn.evaluation.backtest import Backtest, Stretch
from forewarn.evaluation.model_metrics import known_outcome
from forewarn.risk.scorer import Scorer
from monitor_assets.evaluation.shap_importance import Importance

_BLUE, _RED, _GREY = "#3b6ea8", "#c0504d", "#9aa4ad"


def write_report(
    path: Path,
    namespace: str,
    result: Backtest,
    scorer: Scorer,
    stretch: Stretch,
    importance: Importance,
    forecast: dict[str, Any],
) -> None:
    """Write the page, and the picture of importances beside it."""
    import matplotlib

    matplotlib.use("Agg")
    path.parent.mkdir(parents=True, exist_ok=True)
    probability = 1 - scorer.survival(stretch.features)[:, 3]
    pictures = {
        "warnings": _warnings_picture(stretch, probability, scorer.threshold),
        "calibration": _calibration_picture(stretch, probability),
        "importance": _importance_picture(importance),
    }
    path.with_suffix(".shap.png").write_bytes(pictures["importance"])
    folder = Path(__file__).parent
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(folder), autoescape=True)
    page = environment.get_template("report.html.j2").render(
        namespace=namespace,
        result=result,
        threshold=scorer.threshold,
        pictures={name: base64.b64encode(data).decode() for name, data in pictures.items()},
        forecast=forecast,
        number=_number,
        words=_words(importance),
    )
    path.write_text(page)


def _words(importance: Importance) -> list[tuple[str, float, str]]:
    """The first features with their words at a typical value among the riskiest rows."""
    position = {name: i for i, name in enumerate(importance.names)}
    half = importance.rows[: max(1, len(importance.rows) // 2)]
    typical = {n: half[:, i][np.isfinite(half[:, i])] for n, i in position.items()}
    ranked = importance.ranked()[:10]
    return [(n, v, phrase(n, float(np.median(typical[n]))) if len(typical[n]) else "") for n, v in ranked]


def _warnings_picture(stretch: Stretch, probability: np.ndarray, threshold: float) -> bytes:
    """Probability of each series that failed or was warned of, with its failures."""
    from matplotlib.figure import Figure

    matrix, times = stretch.matrix(probability)
    highest = np.nan_to_num(matrix).max(axis=1, initial=0.0)
    failed = np.array([len(o) > 0 for o in stretch.onsets])
    shown = sorted(np.flatnonzero(failed | (highest >= threshold)), key=lambda i: -highest[i])[:14]
    figure = Figure(figsize=(10, 0.7 + 0.55 * max(len(shown), 1)), layout="constrained")
    axes = figure.subplots(max(len(shown), 1), 1, sharex=True, squeeze=False)[:, 0]
    hours = (times - stretch.part.first) / 60
    for axis, i in zip(axes, shown, strict=False):
        axis.fill_between(hours, matrix[i], color=_BLUE, alpha=0.5, linewidth=0)
        axis.axhline(threshold, color=_GREY, linewidth=0.8, linestyle="--")
        for onset in stretch.onsets[i]:
            axis.axvline((onset - stretch.part.first) / 60, color=_RED, linewidth=1.5)
        axis.set(ylim=(0, 1), yticks=[], ylabel=f"{i}")
    axes[-1].set_xlabel("hours of the test interval (60 steps each); red: the signal reaches its limit")
    return _png(figure)


def _calibration_picture(stretch: Stretch, probability: np.ndarray) -> bytes:
    from matplotlib.figure import Figure

    known, came = known_outcome(stretch.steps, stretch.observed, 360)
    p, outcome = probability[known], came[known]
    figure = Figure(figsize=(4.2, 4), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8)
    edges = np.array([0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0])
    bins = np.clip(np.digitize(p, edges) - 1, 0, len(edges) - 2)
    for b in np.unique(bins):
        own = bins == b
        axis.scatter(p[own].mean(), outcome[own].mean(), s=20 + 8 * np.sqrt(own.sum()), color=_BLUE, alpha=0.7)
    axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability said", ylabel="share that failed within 360 steps")
    return _png(figure)


def _importance_picture(importance: Importance) -> bytes:
    from matplotlib.figure import Figure

    ranked = importance.ranked()[:15][::-1]
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axis = figure.subplots()
    axis.barh([name for name, _ in ranked], [value for _, value in ranked], color=_BLUE)
    axis.set(xlabel="mean |SHAP value| (log-odds)")
    axis.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None or np.isnan(value) else f"{value:.{digits}f}"
