"""A model's threshold, moved up by what the control of false pages asks for."""

import math


def raised_threshold(own: float, raised: float) -> float:
    """`own` (between 0 and 1) moved up by `raised` log-odds."""
    if raised == 0.0:
        return own
    own = min(max(own, 1e-6), 1 - 1e-6)
    return 1.0 / (1.0 + math.exp(-(math.log(own / (1 - own)) + raised)))
