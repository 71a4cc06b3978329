"""The calibration as one HTML file with pictures in it."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from forewarn.evaluation.reliability import ReliabilityBin, calibration_error

if TYPE_CHECKING:
    from monitor_assets.evaluation.calibration_report import Calibration

_BLUE, _GREY = "#3b6ea8", "#9aa4ad"


def write_page(path: Path, namespace: str, found: "Calibration") -> None:
    """Write the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True)
    pictures = {f"{steps} steps": _diagram(bins) for steps, bins in found.horizons.items()}
    page = environment.get_template("calibration.html.j2").render(
        namespace=namespace,
        found=found,
        errors={steps: calibration_error(bins) for steps, bins in found.horizons.items()},
        pictures=pictures,
        ledger=_diagram(found.ledger) if found.ledger else "",
        number=lambda value: "–" if value is None or value != value else f"{value:.2f}",
    )
    path.write_text(page)


def _diagram(bins: Sequence[ReliabilityBin]) -> str:
    """Reliability diagram as base64 PNG: a point a bin with its error bar, larger where there are more predictions."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4, 3.2), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8)
    for b in bins:
        axis.plot([b.said, b.said], [b.lower, b.upper], color=_BLUE, linewidth=1, alpha=0.6)
        axis.scatter(b.said, b.came, s=12 + 4 * b.count**0.4, color=_BLUE, alpha=0.8)
    axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability said", ylabel="share that came true")
    return _png(figure)


def _png(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return base64.b64encode(buffer.getvalue()).decode()
