"""A process of its own for each way: `python -m benchmarks.history_past_memory.ways memory|spark|prepare HOME`."""

import sys
from pathlib import Path

from benchmarks.model_lifecycle.fleet_history import NAMESPACE, STEP
from monitor_assets.history import History


def in_memory(history: History) -> None:
    """What the assets `signal_windows` and `signal_features` do."""
    from feature_repo import store
    from monitor_assets.features.signal_features import feature_cells, feature_rows
    from monitor_assets.features.signal_windows import windows_of

    history.write_windows(windows_of(history, STEP))
    windows = history.read_windows()
    rows = feature_rows(windows, feature_cells(len(windows.limited), windows.cells.shape[1]))
    store.write_history(history.home, NAMESPACE, rows)


def by_spark(history: History) -> None:
    """What they do under FOREWARN_OFFLINE_STORE=spark."""
    from feature_repo import store
    from feature_repo.spark import spark_session
    from forewarn.config.settings import Settings
    from monitor_assets.features.by_entity import entity_features, write_windows

    session = spark_session(Settings())
    write_windows(session, history, STEP)
    store.write_history(history.home, NAMESPACE, entity_features(session, history))
    session.stop()


if __name__ == "__main__":
    _way, _history = sys.argv[1], History(Path(sys.argv[2]), NAMESPACE)
    if _way == "prepare":
        from benchmarks.spark import prepare

        prepare(_history, int(sys.argv[3]), int(sys.argv[4]))
    else:
        {"memory": in_memory, "spark": by_spark}[_way](_history)
