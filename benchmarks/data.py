"""Recorded data sets that some benchmarks read: folders below FOREWARN_DATA."""

import os
from pathlib import Path


def data_set(name: str) -> Path:
    """Folder of a data set; it need not be there."""
    return Path(os.environ.get("FOREWARN_DATA") or "../shared/data") / name


def is_here(name: str) -> bool:
    """Whether a data set is at hand; if not, it is said that what needs it is skipped."""
    here = data_set(name).is_dir()
    if not here:
        print(f"skipped: FOREWARN_DATA names no folder with {name}/", flush=True)
    return here
