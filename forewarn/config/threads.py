"""How many threads a computation of so many rows is worth."""

FEW_ROWS = 512  # below, waking a second thread costs more than it saves: on a busy machine thirty times as much


def threads_for(rows: int) -> int:
    """1 for few rows, else 0: as many as the environment (OMP_NUM_THREADS) allows. As LightGBM's `num_threads`."""
    return 1 if rows < FEW_ROWS else 0
