"""A mail server for one machine: keeps each mail as a file that any mail program opens, and sends nothing on."""

import asyncio
import email
import email.policy
import itertools
import re
import signal
import time
from pathlib import Path
from typing import Any

import structlog
from aiosmtpd.controller import Controller

from forewarn.config.settings import Settings
from forewarn.services.lifecycle import configure_logging

_MAX_MAIL_BYTES = 25 * 2**20
_log = structlog.get_logger(__name__)


class FileMailbox:
    """Writes each mail into a folder; names sort by time of arrival."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = itertools.count()
        folder.mkdir(parents=True, exist_ok=True)

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:  # noqa: N802
        """Called by aiosmtpd when a mail has come in whole."""
        content: bytes = envelope.original_content or envelope.content
        subject = str(email.message_from_bytes(content, policy=email.policy.default)["subject"] or "(no subject)")
        try:
            path = await asyncio.to_thread(self._store, subject, content)
        except OSError as error:
            _log.error("mail could not be stored", folder=str(self._folder), error=str(error))
            return "452 Requested action not taken: insufficient system storage"
        _log.info("mail", subject=subject, to=envelope.rcpt_tos, file=str(path))
        return "250 Message accepted for delivery"

    def _store(self, subject: str, content: bytes) -> Path:
        word = re.sub(r"[^a-z0-9]+", "-", subject.lower()).strip("-")[:60] or "mail"
        stamp = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{next(self._number):04d}"
        path = self._folder / f"{stamp}-{word}.eml"
        draft = path.with_suffix(".draft")
        draft.write_bytes(content)
        draft.replace(path)  # whoever watches the folder sees whole mails only
        return path


def mailbox(folder: Path, host: str, port: int) -> Controller:
    """An SMTP server that is not started yet."""
    return Controller(FileMailbox(folder), hostname=host, port=port, data_size_limit=_MAX_MAIL_BYTES)


async def _serve(settings: Settings) -> None:
    server = mailbox(settings.home / "mail", settings.bind_host, settings.smtp_port)
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stopped.set)
    server.start()
    _log.info(
        "mailbox listens", address=f"{settings.bind_host}:{settings.smtp_port}", folder=str(settings.home / "mail")
    )
    await stopped.wait()
    server.stop()


def main() -> None:
    """Serve until a signal."""
    settings = Settings()
    configure_logging(settings)
    asyncio.run(_serve(settings))


if __name__ == "__main__":
    main()
