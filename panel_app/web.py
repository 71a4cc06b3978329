"""Plain HTTP beside the pages: is the process well, and the HTML reports, each in a sandbox of its own."""

import asyncio
import uuid
from pathlib import Path

import psycopg
from tornado.web import HTTPError, RequestHandler

from forewarn.config.settings import Settings
from forewarn.stores.views import report_path
from panel_app.access import Access
from panel_app.sign_in import require_reader
from panel_app.watcher import Watcher


class Health(RequestHandler):
    """`/healthz`: 200 while the process lives. `/readyz`: 503 where the database does not answer."""

    def initialize(self, watcher: Watcher, strict: bool) -> None:
        self._watcher, self._strict = watcher, strict

    def get(self) -> None:
        problem = self._watcher.problem
        self.set_status(503 if self._strict and problem else 200)
        self.set_header("Cache-Control", "no-store")
        self.write({"status": "ok" if not problem else "degraded", "database": problem or "ok"})


class Report(RequestHandler):
    """`/reports/UUID`: a report below FOREWARN_HOME. Its scripts run, but in an origin without any rights."""

    def initialize(self, settings: Settings, access: Access) -> None:
        self._settings, self._access = settings, access

    async def get(self, report_id: str) -> None:
        require_reader(self, self._access)
        file = await asyncio.to_thread(self._file, report_id)
        if file is None:
            raise HTTPError(404, reason="No such report")
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", "sandbox allow-scripts")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.write(await asyncio.to_thread(file.read_bytes))

    def _file(self, report_id: str) -> Path | None:
        try:
            with psycopg.connect(self._settings.postgres_url.get_secret_value(), connect_timeout=3) as connection:
                found = report_path(connection, str(uuid.UUID(report_id)))
        except (psycopg.Error, ValueError):
            return None
        return below(self._settings.home, found) if found else None


def below(home: Path, path: str) -> Path | None:
    """A file below a folder, None where the path leads out of it or there is no such file."""
    root = home.resolve()
    file = (root / path).resolve()
    return file if file.is_relative_to(root) and file.is_file() and file.suffix == ".html" else None
