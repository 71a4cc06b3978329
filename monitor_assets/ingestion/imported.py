"""History from a Prometheus, and from files in the long format, into the archive: one partition a day, backfillable."""

import threading
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg

from forewarn.config.settings import Settings
from forewarn.services.importing.long_table import LongFormatError, LongReader, Tally
from forewarn.services.importing.prometheus import PrometheusImport, Wanted
from forewarn.services.importing.prometheus_api import PrometheusApi, PrometheusError
from forewarn.stores.imports import Imports
from forewarn.stores.schema import create_tables
from monitor_assets.markdown import table

DAYS = dg.DailyPartitionsDefinition(start_date="2020-01-01")


class PrometheusSource(dg.ConfigurableResource):
    """A Prometheus and what to import of it. Token or login come from the environment (`FOREWARN_PROMETHEUS_…`)."""

    url: str = ""
    match: list[str] = []
    namespace: str = ""
    step_seconds: float = 0.0  # 0: every sample as it was scraped

    def open(self) -> PrometheusApi:
        """The API. Raises dagster.Failure without an address or a selector."""
        if not self.url or not self.match:
            raise dg.Failure("name `url` and `match` of the resource `prometheus`, such as match: ['{job=\"api\"}']")
        settings = Settings()
        token, password = settings.prometheus_token, settings.prometheus_password
        login = (settings.prometheus_user, password.get_secret_value() if password else "")
        return PrometheusApi(
            self.url,
            token=token.get_secret_value() if token else None,
            login=(login[0], login[1]) if login[0] else None,
        )

    def wanted(self, start: datetime, stop: datetime) -> Wanted:
        """What is imported of an interval."""
        step = timedelta(seconds=self.step_seconds) if self.step_seconds else None
        return Wanted(tuple(self.match), start, stop, step, self.namespace or None)


class LongFiles(dg.ConfigurableResource):
    """A folder with `day=2026-01-05/` and in it .csv or .parquet files in the long format (docs/data-formats.md)."""

    folder: str = ""
    namespace: str = ""

    def of_day(self, day: str) -> list[Path]:
        """Files of a day. Raises dagster.Failure where there is no folder."""
        if not self.folder or not Path(self.folder).is_dir():
            raise dg.Failure(f"`folder` of the resource `long_files` is {self.folder!r}, which is no folder")
        inside = Path(self.folder, f"day={day}").rglob("*")
        return sorted(path for path in inside if path.suffix in (".csv", ".parquet"))


@dg.asset(partitions_def=DAYS, group_name="import", kinds={"prometheus", "postgres"}, owners=["team:forewarn"])
def imported_metrics(context: dg.AssetExecutionContext, prometheus: PrometheusSource) -> dg.MaterializeResult:
    """A day of history from a Prometheus, in the archive. What the archive has is not stored twice."""
    window = context.partition_time_window
    try:
        with prometheus.open() as api, _imports() as imports:
            work = PrometheusImport(api, imports, prometheus.wanted(window.start, window.end))
            done = work.run(work.plan(), threading.Event())
    except PrometheusError as error:
        raise dg.Failure(str(error)) from error
    context.log.info("%d samples read, %d are new", done.read, done.new)
    return dg.MaterializeResult(metadata={"samples": done.read, "new": done.new, "pieces": done.pieces})


@dg.asset(partitions_def=DAYS, group_name="import", kinds={"parquet", "postgres"}, owners=["team:forewarn"])
def imported_files(context: dg.AssetExecutionContext, long_files: LongFiles) -> dg.MaterializeResult:
    """A day of history from files, in the archive. Bad rows are left out, counted and named."""
    reader, rows, bad = LongReader(long_files.namespace or None), [], []
    try:
        with _imports() as imports:
            for path in long_files.of_day(context.partition_key):
                tally = Tally()
                new = sum(imports.store([batch]) for batch in reader.read(path, tally))
                rows.append((path.name, tally.rows, tally.bad, new))
                bad += [(path.name, line, reason) for line, reason in tally.first_bad]
    except LongFormatError as error:
        raise dg.Failure(str(error)) from error
    context.log.info("%d rows of %d files, %d are new", sum(r[1] for r in rows), len(rows), sum(r[3] for r in rows))
    return dg.MaterializeResult(
        metadata={
            "rows": sum(r[1] for r in rows),
            "bad rows": sum(r[2] for r in rows),
            "new": sum(r[3] for r in rows),
            "files": table(["file", "rows", "bad", "new"], rows),
            "first bad rows": table(["file", "line", "reason"], bad),
        }
    )


def _imports() -> Imports:
    url = Settings().postgres_url.get_secret_value()
    create_tables(url)
    return Imports(url)
