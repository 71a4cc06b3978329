"""`python -m bentos.online_store HOME`: pushes features that come on standard input into Feast's online store."""

import signal
import sys
from pathlib import Path

import pyarrow as pa
import structlog

from feature_repo import store as feature_store
from forewarn.config.settings import Settings
from forewarn.services.lifecycle import configure_logging

logger = structlog.get_logger("bentos.online_store")


def main() -> None:
    """Push until standard input ends. Each batch is a table of `feature_repo.store.SCHEMA`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the predictor ends it by closing the pipe
    configure_logging(Settings())
    store = feature_store.open_store(Path(sys.argv[1]), "asof")  # pushed online alone: Spark is not needed here
    told = False
    with pa.ipc.open_stream(sys.stdin.buffer) as batches:
        for batch in batches:
            try:
                feature_store.push_newest(store, pa.Table.from_batches([batch]))
                told = False
            except Exception as error:  # noqa: BLE001 whatever it is: the next batch is newer and is tried
                store.refresh_registry()
                if not told:
                    logger.warning("features were not pushed to the online store", reason=str(error))
                told = True


if __name__ == "__main__":
    main()
