"""Several detectors of the same rows as one: their p-values are combined.

`DETECTORS` names all; `DEFAULT` are those that are on, which the benchmark decided (docs/adr/0006).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from forewarn.detection.combination import cauchy_combination
from forewarn.detection.detector import AnomalyDetector, Floats
from forewarn.detection.empirical import empirical_p_value, reference_scores, tail_p_value
from forewarn.detection.forecast_error import AutoregressionDetector, PolynomialDetector
from forewarn.detection.isolation_forest import IsolationForestDetector
from forewarn.detection.networks import LstmAutoencoderDetector, TcnDetector
from forewarn.detection.principal_components import PrincipalComponentsDetector

DETECTORS: dict[str, type[Any]] = {
    "autoregression": AutoregressionDetector,
    "local_polynomial": PolynomialDetector,
    "principal_components": PrincipalComponentsDetector,
    "isolation_forest": IsolationForestDetector,
    "lstm_autoencoder": LstmAutoencoderDetector,
    "tcn": TcnDetector,
}
DEFAULT = ("autoregression",)
MEMBERS = "members.json"
REFERENCE = "reference.npz"
HELD_OUT = 0.25


@dataclass(eq=False)
class DetectorEnsemble:
    """Learns every member named on the same rows; a score is -log10 of their combined p-value.

    Members learn the first three quarters of the rows; the last quarter tells what is usual for each and for the
    combination, so that its p-values are right however much the members agree.
    """

    names: Sequence[str] = DEFAULT
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = sorted(set(self.names) - DETECTORS.keys())
        if unknown or not self.names:
            raise ValueError(
                f"no detector is called {', '.join(unknown) or 'nothing'}: choose of {', '.join(DETECTORS)}"
            )
        self._members: dict[str, AnomalyDetector] = {name: DETECTORS[name](seed=self.seed) for name in self.names}
        self._usual: dict[str, Floats] = {}
        self._reference: Floats | None = None

    @property
    def context(self) -> int:
        """See `AnomalyDetector.context`: that of the member that looks back furthest."""
        return max(member.context for member in self._members.values())

    def learn(self, X: NDArray[np.floating[Any]]) -> None:
        """See `AnomalyDetector.learn`."""
        early = round(len(X) * (1 - HELD_OUT))
        usual = {}
        for name, member in self._members.items():
            member.learn(X[:early])
            usual[name] = reference_scores(member.score(X)[early:])
        self._usual = usual
        self._reference = reference_scores(self.score(X)[early:])

    def score(self, X: NDArray[np.floating[Any]]) -> Floats:
        """See `AnomalyDetector.score`."""
        if not self._usual:
            raise RuntimeError("the detector has learned nothing yet: call learn first")
        if len(X) == 0:
            return np.empty(0)
        p = [tail_p_value(member.score(X), self._usual[name]) for name, member in self._members.items()]
        return np.asarray(-np.log10(cauchy_combination(np.column_stack(p))))

    def p_value(self, scores: NDArray[np.floating[Any]]) -> Floats:
        """See `AnomalyDetector.p_value`."""
        if self._reference is None:
            raise RuntimeError("the detector has learned nothing yet: call learn first")
        return empirical_p_value(scores, self._reference)

    def save(self, folder: Path) -> None:
        """A folder for each member, and what is usual for them."""
        if self._reference is None:
            raise RuntimeError("the detector has learned nothing yet: call learn first")
        for name, member in self._members.items():
            member.save(folder / name)
        (folder / MEMBERS).write_text(json.dumps({"names": list(self.names), "seed": self.seed}))
        np.savez_compressed(
            folder / REFERENCE, ensemble=self._reference, **{f"of_{n}": u for n, u in self._usual.items()}
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; what `IsolationForestDetector.load` says of checksums holds here, too."""
        ensemble = cls(**json.loads((folder / MEMBERS).read_text()))
        ensemble._members = {name: DETECTORS[name].load(folder / name) for name in ensemble.names}
        with np.load(folder / REFERENCE, allow_pickle=False) as file:
            ensemble._usual = {name: file[f"of_{name}"] for name in ensemble.names}
            ensemble._reference = file["ensemble"]
        return ensemble
