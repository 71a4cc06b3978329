"""Five retraining rounds in which warnings are acted upon: naive labels, censored ones, ours, and an oracle's."""

import numpy as np

from benchmarks.model_lifecycle.mitigated_world import LABELLINGS, Lived, World, learn
from benchmarks.report import Result
from forewarn.classification.hazard import HazardModel
from forewarn.evaluation.model_metrics import brier, known_outcome, log_loss

ROUNDS, SEEDS, SERIES, TEST_SERIES = 5, 5, 240, 500
PAGING = 3  # the horizon of 360 steps


def scores(model: HazardModel, world: World) -> dict[str, float]:
    """Log loss, Brier score and recall at a precision of 0.8 of P(failure within 360 steps), on an untouched world."""
    features, steps, observed = world.flat(world.alive)
    known, failed = known_outcome(steps, observed, 360)
    p, came = 1.0 - model.survival(features[known])[:, PAGING], failed[known]
    return {"log loss": log_loss(p, came), "Brier": brier(p, came), "mean ratio": float(p.mean() / came.mean())}


Scores = dict[str, list[dict[str, float]]]  # labelling -> after each round -> metric


def one_seed(seed: int, rounds: int = ROUNDS, series: int = SERIES, tests: int = TEST_SERIES) -> Scores:
    """Scores by labelling after each round; round 0 is learned before anybody acts and is the same for all."""
    test = World.made(np.random.default_rng([seed, 99]), tests)
    worlds = [World.made(np.random.default_rng([seed, k]), series) for k in range(rounds + 1)]
    found: Scores = {}
    for labelling in LABELLINGS:
        lived = [Lived.under(worlds[0], None, np.random.default_rng([seed, 7]))]
        model = learn([lived[0].rows(labelling)], seed)
        found[labelling] = [scores(model, test)]
        for k in range(1, rounds + 1):
            lived.append(Lived.under(worlds[k], model, np.random.default_rng([seed, 7, k])))
            model = learn([one.rows(labelling) for one in lived[-2:]], seed)  # the last two rounds' history
            found[labelling].append(scores(model, test))
    return found


def measure() -> list[Result]:
    """Mean over seeds of the last three rounds; the distance to the oracle beside what naive labels lose."""
    runs = [one_seed(seed) for seed in range(SEEDS)]
    last = range(ROUNDS - 2, ROUNDS + 1)

    def late(run: Scores, name: str, metric: str) -> float:
        return float(np.mean([run[name][k][metric] for k in last]))

    def figures(metric: str) -> dict[str, float]:
        return {name: float(np.mean([late(run, name, metric) for run in runs])) for name in LABELLINGS}

    def result(metric: str, label: str, unit: str = "", goal: str = "", met: bool | None = None) -> Result:
        beside = figures(metric)
        return Result(f"learning: {label}", beside.pop("weighted"), unit, goal, met, beside, note)

    rounds = {
        name: [round(float(np.mean([run[name][k]["log loss"] for run in runs])), 3) for k in range(ROUNDS + 1)]
        for name in LABELLINGS
    }
    for name, line in rounds.items():
        print(f"  log loss by round, {name}: {line}", flush=True)
    note = f"{SEEDS} seeds, mean of rounds {ROUNDS - 2} to {ROUNDS}; 70 % of warnings acted upon; failure in 360 steps"
    wins = sum(late(run, "weighted", "log loss") < late(run, "naive", "log loss") for run in runs)
    loss = figures("log loss")
    saved = {n: 1 - (loss[n] - loss["oracle"]) / (loss["naive"] - loss["oracle"]) for n in ("weighted", "censored")}
    by_round = f"log loss by round: naive {rounds['naive']}, ours {rounds['weighted']}, oracle {rounds['oracle']}"
    return [
        result("log loss", "log loss with our labels", "nats", f"below naive in all {SEEDS} seeds", wins == SEEDS),
        result("Brier", "Brier score with our labels"),
        result("mean ratio", "probability said over share that failed, our labels"),
        Result("learning: share saved of what naive labels lose to an oracle", saved["weighted"], "",
               baselines={"censored without weights": saved["censored"]}, note=by_round),
    ]  # fmt: skip
