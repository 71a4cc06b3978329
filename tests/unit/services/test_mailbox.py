"""The mailbox over real SMTP."""

import email
import email.policy
import smtplib
import socket
from email.message import EmailMessage
from pathlib import Path

from forewarn.services.mailbox import mailbox


def test_each_mail_becomes_a_file_in_order_of_arrival(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = mailbox(tmp_path / "mail", "127.0.0.1", port)
    server.start()
    try:
        with smtplib.SMTP("127.0.0.1", port) as client:
            for subject in ("Prüfung: pool reaches 100 %", "../../etc/passwd", ""):
                message = EmailMessage()
                message["Subject"], message["From"], message["To"] = subject, "a@localhost", "b@localhost"
                message.set_content("Größer als gestern\n")
                client.send_message(message)
    finally:
        server.stop()
    files = sorted((tmp_path / "mail").iterdir())
    read = [email.message_from_bytes(f.read_bytes(), policy=email.policy.default) for f in files]
    assert [m["Subject"] for m in read] == ["Prüfung: pool reaches 100 %", "../../etc/passwd", ""]
    assert all("Größer als gestern" in m.get_body().get_content() for m in read)
    assert [f.suffix for f in files] == [".eml"] * 3
