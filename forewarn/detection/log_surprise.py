"""Next-template surprise: an LSTM says which log template comes next; how surprising was the one that came?"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

F64 = NDArray[np.float64]

FILE = "log_surprise.pt"
_START, _END, _FIRST = 0, 1, 2
_EMBEDDING, _HIDDEN = 32, 64
_BATCH = 128
_LONGEST = 512  # templates of a sequence that are read
_STEP = 3e-3
_TIMES = 10


class NextTemplate:
    """DeepLog's idea (Du 2017) with the whole past as context, the end of a sequence as an event of its own, and
    -log probability instead of a rank. Templates are numbers 0 … size - 1; `size` stands for those never seen."""

    def __init__(self, size: int, seed: int = 0) -> None:
        import torch

        torch.manual_seed(seed)
        self.size, self.seed = size, seed
        symbols = size + 1 + _FIRST
        self._layers = torch.nn.ModuleDict(
            {
                "embedding": torch.nn.Embedding(symbols, _EMBEDDING),
                "lstm": torch.nn.LSTM(_EMBEDDING, _HIDDEN, batch_first=True),
                "output": torch.nn.Linear(_HIDDEN, symbols),
            }
        )

    def learn(self, sequences: Sequence[Sequence[int]], steps: int = 300) -> None:
        """Learn from usual sequences. Equal ones are read once, with the logarithm of their number as weight.

        steps: of the optimizer, at least; every sequence is read at least ten times.
        """
        import torch

        batches = list(_batches(_symbols(sequences)))
        optimizer = torch.optim.Adam(self._layers.parameters(), lr=_STEP)
        order = np.random.default_rng(self.seed)
        for _ in range(max(-(-steps // len(batches)), _TIMES)):
            for i in order.permutation(len(batches)):
                rows, times, _ = batches[i]
                weight = (rows[:, 1:] != _START) * np.log1p(times)[:, None]
                losses = torch.nn.functional.cross_entropy(
                    self._logits(rows).transpose(1, 2), torch.from_numpy(rows[:, 1:]), reduction="none"
                )
                share = torch.from_numpy((weight / weight.sum()).astype(np.float32))
                optimizer.zero_grad()
                (losses * share).sum().backward()
                torch.nn.utils.clip_grad_norm_(self._layers.parameters(), 1.0)
                optimizer.step()

    def score(self, sequences: Sequence[Sequence[int]]) -> F64:
        """[n]: the largest surprise in each sequence, its end included, in nats."""
        import torch

        keys = _symbols(sequences)
        worst: dict[tuple[int, ...], float] = {}
        with torch.no_grad():
            for rows, _, several in _batches(keys):
                logs = torch.log_softmax(self._logits(rows), dim=-1).numpy()
                surprise = -np.take_along_axis(logs, rows[:, 1:, None], axis=2)[..., 0]
                surprise[rows[:, 1:] == _START] = 0.0
                worst.update(zip(several, surprise.max(axis=1).tolist(), strict=True))
        return np.array([worst[key] for key in keys], dtype=np.float64)

    def save(self, folder: Path) -> None:
        """Write the weights."""
        import torch

        folder.mkdir(parents=True, exist_ok=True)
        torch.save({"size": self.size, "seed": self.seed, "layers": self._layers.state_dict()}, folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> "NextTemplate":
        """Read what `save` wrote, as plain tensors and numbers; raises FileNotFoundError without it."""
        import torch

        state: dict[str, Any] = torch.load(folder / FILE, weights_only=True)
        model = cls(state["size"], state["seed"])
        model._layers.load_state_dict(state["layers"])
        return model

    def _logits(self, rows: NDArray[np.int64]) -> "torch.Tensor":
        """[n, T, symbols] for what follows each of the first T symbols; only the past is read."""
        import torch

        hidden, _ = self._layers["lstm"](self._layers["embedding"](torch.from_numpy(rows[:, :-1])))
        logits: torch.Tensor = self._layers["output"](hidden)
        return logits


def _symbols(sequences: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """A cut sequence has no end."""
    return [
        (*(t + _FIRST for t in sequence[:_LONGEST]), *((_END,) if len(sequence) <= _LONGEST else ()))
        for sequence in sequences
    ]


def _batches(
    keys: Sequence[tuple[int, ...]],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64], list[tuple[int, ...]]]]:
    """Distinct sequences of about the same length: rows that begin and are filled up with 0, how often each came."""
    times = Counter(keys)
    distinct = sorted(times, key=lambda key: (len(key), key))
    for i in range(0, len(distinct), _BATCH):
        several = distinct[i : i + _BATCH]
        rows = np.zeros((len(several), len(several[-1]) + 1), dtype=np.int64)
        for row, key in zip(rows, several, strict=True):
            row[1 : len(key) + 1] = key
        yield rows, np.array([times[key] for key in several], dtype=np.float64), several
