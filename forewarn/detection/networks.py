"""Two small networks that rebuild or foretell rows: an LSTM autoencoder and a temporal convolution (Bai 2018).

Trained on one thread of a CPU in seconds; their weights are saved as plain arrays, never as a pickle.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from forewarn.detection.detector import Floats
from forewarn.detection.series_detector import SeriesDetector

SCORED_AT_ONCE = 4096  # windows: bounds memory


@dataclass(eq=False)
class _NetworkDetector(SeriesDetector):
    """`window`: rows that the network sees; `hidden`: its width; `steps` of Adam on `batch` windows drawn at random.

    The error of a row is that of the last row of the window that ends with it.
    """

    window: int = 32
    hidden: int = 24
    steps: int = 400
    batch: int = 64

    refit: ClassVar[bool] = False  # training twice would take twice as long

    def __post_init__(self) -> None:
        super().__post_init__()
        self._network: Any = None
        self._channels = 0
        self._spread = np.empty(0)

    @property
    def own_context(self) -> int:
        """See `SeriesDetector.own_context`."""
        return self.window

    @abstractmethod
    def _build(self, channels: int) -> Any:
        """A torch module from windows [B, W, F] to the expected last row [B, F]."""

    def _fit(self, Z: Floats) -> None:
        import torch

        torch.set_num_threads(1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self._network, self._channels = self._build(Z.shape[1]), Z.shape[1]
            self._train(Z)
        misses = Z - self._expected(Z)
        self._spread = np.maximum(misses.std(axis=0), 1e-2)

    def _train(self, Z: Floats) -> None:
        import torch

        windows, rng = self._windows(Z), np.random.default_rng(self.seed)
        optimizer = torch.optim.Adam(self._network.parameters(), lr=5e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        self._network.train()
        for _ in range(self.steps):
            sample = torch.from_numpy(windows[rng.integers(0, len(windows), self.batch)])
            loss = torch.nn.functional.smooth_l1_loss(self._network(sample), sample[:, -1])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        self._network.eval()

    def _windows(self, Z: Floats) -> NDArray[np.float32]:
        """[n, W, F] view of the rows up to and with each; before the first row, the first is taken to have stood."""
        padded = np.concatenate([np.repeat(Z[:1], self.window - 1, axis=0), Z]).astype(np.float32)
        return np.lib.stride_tricks.sliding_window_view(padded, self.window, axis=0).transpose(0, 2, 1)

    def _expected(self, Z: Floats) -> Floats:
        import torch

        windows = self._windows(Z)
        with torch.inference_mode():
            pieces = [
                self._network(torch.from_numpy(np.ascontiguousarray(windows[start : start + SCORED_AT_ONCE]))).numpy()
                for start in range(0, len(windows), SCORED_AT_ONCE)
            ]
        return np.asarray(np.concatenate(pieces), dtype=np.float64)

    def _parts(self, Z: Floats) -> Floats:
        misses = np.clip((Z - self._expected(Z)) / self._spread, -self.clip, self.clip)
        return np.asarray(misses**2 / Z.shape[1], dtype=np.float64)

    def _arrays(self) -> dict[str, NDArray[Any]]:
        weights = {f"weight_{name}": tensor.numpy() for name, tensor in self._network.state_dict().items()}
        return {"channels": np.asarray(self._channels), "error": self._spread, **weights}

    def _restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        import torch

        self._channels, self._spread = int(arrays["channels"]), arrays["error"]
        self._network = self._build(self._channels)
        prefix = "weight_"
        state = {k.removeprefix(prefix): torch.from_numpy(v) for k, v in arrays.items() if k.startswith(prefix)}
        self._network.load_state_dict(state)
        self._network.eval()


@dataclass(eq=False)
class LstmAutoencoderDetector(_NetworkDetector):
    """An LSTM reads the window into a code narrower than a row (Malhotra 2016); the last row is rebuilt from it."""

    def _build(self, channels: int) -> Any:
        from forewarn.detection.torch_modules import LstmAutoencoder

        return LstmAutoencoder(channels, self.hidden, code=max(1, min(self.hidden // 2, channels // 2)))


@dataclass(eq=False)
class TcnDetector(_NetworkDetector):
    """Dilated causal convolutions foretell a row from the `window` - 1 rows before it; the row itself is not seen."""

    def _build(self, channels: int) -> Any:
        from forewarn.detection.torch_modules import TemporalConvolution

        return TemporalConvolution(channels, self.hidden, self.window - 1)
