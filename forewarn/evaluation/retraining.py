"""Whether to train again: see `forewarn.evaluation.lifecycle.retraining`."""

from forewarn.evaluation.lifecycle.retraining import DRIFTED_SHARE

__all__ = ["DRIFTED_SHARE"]
