"""Where the packaged direct quantiles are."""

from functools import cache
from pathlib import Path

from forewarn.forecasting.capacity.direct import DirectQuantiles

FOLDER = Path(__file__).with_name("direct_model")


@cache
def packaged() -> DirectQuantiles:
    """The model of the package. Raises ValueError where it was learned on other features."""
    return DirectQuantiles.load(FOLDER)
