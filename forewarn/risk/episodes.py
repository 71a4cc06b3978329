"""When a risk is told, told again and taken back: a small state machine for each signal, without a clock."""

from dataclasses import dataclass, replace

import numpy as np

CONFIRM = 2  # scorings in a row above the threshold before a risk is told
WITHDRAW = 6  # scorings in a row below a third of the threshold before it is taken back
MOVED = 0.4  # |ln(new failure time / told failure time)| that is worth telling again


@dataclass(frozen=True, slots=True)
class Episode:
    """State of one signal: `opened_cell` is -1 until a risk has been told."""

    above: int = 0
    below: int = 0
    opened_cell: int = -1
    told_cell: int = -1
    told_failure_cell: float = np.inf
    told_probability: float = 0.0
    revision: int = -1

    @property
    def open(self) -> bool:
        """Whether a risk has been told and not taken back."""
        return self.opened_cell >= 0


def counted(episode: Episode, probability: float, threshold: float) -> Episode:
    """The state after one more scoring of which nothing is told."""
    above = episode.above + 1 if probability >= threshold else 0
    below = episode.below + 1 if probability < threshold / 3 else 0
    return replace(episode, above=above, below=below)


def step(episode: Episode, cell: int, probability: float, steps_left: float, threshold: float) -> tuple[Episode, str]:
    """The next state and what to tell at `cell`: '' (nothing), 'open', 'update' or 'withdrawn'.

    probability: of the failure within the paging horizon; steps_left: median steps to it.
    An update is told when the failure time moved by MOVED relative to the time left, or when half of the time
    left at the last telling has passed; none while the failure is not expected any more: a time for what will not
    come misleads, and if it stays so, the risk is withdrawn.
    """
    state = counted(episode, probability, threshold)
    above, below = state.above, state.below
    if not episode.open:
        if above < CONFIRM:
            return state, ""
        return _told(state, cell, probability, steps_left, opened=cell), "open"
    if below >= WITHDRAW:
        return Episode(), "withdrawn"
    if below:
        return state, ""
    left_when_told = episode.told_failure_cell - episode.told_cell
    left_as_told = max(episode.told_failure_cell - cell, 1.0)
    moved = abs(np.log(max(steps_left, 1.0) / left_as_told)) > MOVED and probability >= threshold
    if cell - episode.told_cell >= max(0.5 * left_when_told, 5) or (moved and cell - episode.told_cell >= 15):
        return _told(state, cell, probability, steps_left, opened=episode.opened_cell), "update"
    return state, ""


def _told(state: Episode, cell: int, probability: float, steps_left: float, opened: int) -> Episode:
    return replace(
        state,
        opened_cell=opened,
        told_cell=cell,
        told_failure_cell=cell + steps_left,
        told_probability=probability,
        revision=state.revision + 1,
    )
