"""Models that look after themselves, measured: `python -m benchmarks.lifecycle [part …]`, results/lifecycle.json."""

import sys

from benchmarks.parts import run_parts

PARTS = {
    "learning": "five retrainings while warnings are acted upon: what three ways to label lose",
    "budget": "false pages beside the budget while the world drifts",
    "smoke": "whether a broken model is noticed by the smoke test, and after how many runs",
    "backfill": "90 days of samples from the archive to files, by day",
    "drift": "whether a release that doubles the memory per request of one service is seen, and plain weeks are not",
    "rollback": "how often the roll-back as wrong meets the right and the wrong champion",
    "shadow_verdict": "how often a shadow is promoted that is no better, and how soon one that is",
    "end_to_end": "drift, retraining, shadow, promotion and roll-back by sensors on a whole stack, accelerated clock",
    "retraining": "a full training: 30 days, 200 entities, 20 signals at 1 min",
}


if __name__ == "__main__":
    sys.exit(run_parts("lifecycle", "benchmarks.model_lifecycle", PARTS, sys.argv[1:]))
