"""The result of a backtest as one HTML file: the table, and a picture of each recording with what was told."""

import base64
import io
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from forewarn.evaluation.walk_forward.report import Walked
from forewarn.evaluation.walk_forward.summary import GOALS

_STYLE = """body{font:15px/1.5 system-ui;margin:2em auto;max-width:64em}table{border-collapse:collapse}
td,th{padding:.3em .9em;border-bottom:1px solid #ddd;text-align:right}td:first-child{text-align:left}img{width:100%}"""
_SHOWN = 0.3  # of its limit: signals that stay below are left out of a picture


def write_page(path: Path, walked: list[Walked], result: dict[str, Any]) -> None:
    """Write the page; pictures are in it, nothing is loaded from elsewhere."""
    names = ["forewarn", *result["baselines"]]
    columns = [result["overall"], *result["baselines"].values()]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = "".join(
        f"<tr><td>{escape(g.title)}</td>" + "".join(f"<td>{_number(c[g.key])}</td>" for c in columns) + "</tr>"
        for g in GOALS
    )
    pictures = "".join(f"<h2>{escape(w.recording.name)}</h2><p>{_words(w)}</p>{_picture(w)}" for w in walked)
    path.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Backtest</title><style>{_STYLE}</style>'
        f"<h1>Backtest of {escape(result['model'])}</h1><table><tr><th></th>{head}</tr>{rows}</table>{pictures}</html>"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _words(walked: Walked) -> str:
    o = walked.outcomes["model"]
    what = f"{o.mode}: {'told' if o.predicted else 'not told'} in time" if o.failed else "did not fail"
    told = "; ".join(f"{p.entity} {p.signal}" for p in walked.pages) or "nothing"
    return escape(f"{what}. Pages: {told}.")


def _picture(walked: Walked) -> str:
    """Limited signals relative to their limits; shaded: a page is open; dashed: the first failure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.8), layout="constrained")
    axes = figure.add_subplot()
    m, start = walked.recording.metrics, walked.recording.span_ns[0] / 1e9
    for limit in walked.recording.limits:
        own = m.index == (m.series.index(limit.series) if limit.series in m.series else -1)
        ratio = m.values[own] / limit.value
        if len(ratio) and np.nanmax(ratio) >= _SHOWN:
            label = f"{limit.series.entity} {limit.series.signal}"
            axes.plot(m.times[own] / 1e9 - start, np.minimum(ratio, 1.3), lw=0.9, label=label)
    for page in walked.pages:
        axes.axvspan(page.start - start, page.end - start, color="tab:red", alpha=0.12)
    for failure in walked.recording.failures:
        axes.axvline(failure.first_failure_at.timestamp() - start, color="black", ls="--")
    axes.set(xlabel="seconds", ylabel="share of the limit")
    if axes.lines:
        axes.legend(fontsize=7, loc="upper left")
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=80)
    return f'<img alt="signals and pages" src="data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}">'
