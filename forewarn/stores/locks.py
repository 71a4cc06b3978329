"""Numbers of PostgreSQL's advisory locks: all in one place, so that no two purposes share one."""

from enum import IntEnum


class Lock(IntEnum):
    """What only one process may do at a time."""

    CREATE_TABLES = 7_305_511
    MAKE_PARTITION = 7_305_512
    LEAD_ALERTING = 7_305_513  # held by the active alerter as long as it lives
    RUN_RESPONSES = 7_305_514  # held by the one process that runs responses
    TEND_ARCHIVE = 7_305_521  # held by the archiver that rolls up and drops
    IMPORT_SAMPLES = 7_305_522
    FORECAST_CAPACITY = 7_305_531
    TRACK_MODELS = 7_305_523
