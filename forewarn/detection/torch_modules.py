"""The torch modules of `networks.py`; a module of its own, since torch is imported only by who trains or scores."""

from torch import Tensor, nn


class LstmAutoencoder(nn.Module):  # type: ignore[misc]
    """[B, W, F] -> [B, F]: the last row, rebuilt from a code of `code` numbers."""

    def __init__(self, channels: int, hidden: int, code: int) -> None:
        super().__init__()
        self.encoder = nn.LSTM(channels, hidden, batch_first=True)
        self.narrow = nn.Linear(hidden, code)
        self.decoder = nn.Sequential(nn.Linear(code, hidden), nn.Tanh(), nn.Linear(hidden, channels))

    def forward(self, windows: Tensor) -> Tensor:
        """Rebuild the last row of each window."""
        states, _ = self.encoder(windows)
        return self.decoder(self.narrow(states[:, -1]))


class TemporalConvolution(nn.Module):  # type: ignore[misc]
    """[B, W, F] -> [B, F]: the last row from the `before` rows ahead of it, as a change of the row just before."""

    def __init__(self, channels: int, hidden: int, before: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width, dilation = channels, 1
        while dilation < before:
            layers += [nn.ConstantPad1d((2 * dilation, 0), 0.0), nn.Conv1d(width, hidden, 3, dilation=dilation)]
            layers += [nn.ReLU()]
            width, dilation = hidden, dilation * 2
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, channels)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, windows: Tensor) -> Tensor:
        """Foretell the last row of each window without looking at it."""
        past = windows[:, :-1]
        return past[:, -1] + self.head(self.body(past.transpose(1, 2))[:, :, -1])
