"""Windows of signals and the features computed from them."""

import hashlib
import os
import sys
from pathlib import Path


def _cache_compiled_code_by_source() -> None:
    """Keep Numba's cache in a folder named after the sources of this package.

    Numba looks at the one file that holds a function: code inlined from another file that changed would go on
    running from the cache.
    """
    folder = Path(__file__).parent
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(folder.glob("*.py")))).hexdigest()[:16]
    cache = folder / "__pycache__" / f"numba-{digest}"
    if not os.access(folder, os.W_OK):
        return  # Numba then finds a place of its own
    os.environ["NUMBA_CACHE_DIR"] = str(cache)
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = str(cache)


_cache_compiled_code_by_source()
