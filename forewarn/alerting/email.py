"""Channel 'email': one thread an incident, HTML and text, with the picture of the forecast inline."""

import smtplib
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from functools import cache

import jinja2

from forewarn.alerting import wording
from forewarn.alerting.channel import Digest, Notification, Receipt, Undelivered
from forewarn.alerting.picture import alt_text, draw_forecast, warm_up
from forewarn.config.settings import Settings
from forewarn.incidents.paging import CLOSINGS
from forewarn.risk.quantities import format_instant

TIMEOUT_SECONDS = 10.0
_COLOURS = {"critical": "#b3261e", "warning": "#b25e00", "info": "#2b6cb0", "closed": "#2e7d4f"}
_CID = "forecast@forewarn"


class EmailChannel:
    """Sends over SMTP. A repetition after a crash has the same Message-ID, by which mail servers can drop it."""

    def __init__(self, settings: Settings, name: str = "email", to: str | None = None) -> None:
        """to: other recipients than those of the settings. Raises ValueError without a server."""
        self.name = name
        self._to = to or settings.mail_to
        if settings.smtp_host is None:
            raise ValueError("e-mail needs an SMTP server: set FOREWARN_SMTP_HOST")
        self._host, self._port = settings.smtp_host, settings.smtp_port
        self._settings = settings
        warm_up()

    def send(self, notification: Notification) -> None:
        """See Channel."""
        self._deliver(render_mail(notification, self._settings.mail_from, self._to))

    def send_digest(self, digest: Digest) -> Receipt:
        """See Channel. What comes later about one of these incidents is an answer to this mail."""
        self._deliver(render_digest(digest, self._settings.mail_from, self._to))
        return {"message_id": digest.message_id}

    def _deliver(self, mail: EmailMessage) -> None:
        try:
            with smtplib.SMTP(self._host, self._port, timeout=TIMEOUT_SECONDS) as server:
                self._sign_in(server)
                server.send_message(mail)
        except smtplib.SMTPRecipientsRefused as error:
            permanent = all(code >= 500 for code, _ in error.recipients.values())
            raise Undelivered(f"recipients refused: {error.recipients}", permanent) from error
        except smtplib.SMTPAuthenticationError as error:
            raise Undelivered(f"{self._host}:{self._port} refused user and password ({error.smtp_code})") from error
        except smtplib.SMTPResponseException as error:
            raise Undelivered(f"{error.smtp_code} {error.smtp_error!r}", error.smtp_code >= 500) from error
        except (OSError, smtplib.SMTPException) as error:
            raise Undelivered(f"{self._host}:{self._port}: {error}") from error

    def close(self) -> None:
        """See Channel: each message has a connection of its own."""

    def _sign_in(self, server: smtplib.SMTP) -> None:
        if self._settings.smtp_starttls:
            server.starttls()
        if self._settings.smtp_user:
            password = self._settings.smtp_password
            server.login(self._settings.smtp_user, password.get_secret_value() if password else "")


def render_mail(notification: Notification, sender: str, recipients: str) -> EmailMessage:
    """The mail of a notification. Nothing that telemetry says can add a header or markup."""
    alt, picture = _picture(notification)
    facts = _facts(notification, alt=alt, picture=_CID if picture else "")
    mail = EmailMessage(policy=POLICY)
    mail["From"], mail["To"] = sender, recipients
    mail["Subject"] = f"{'Re: ' if notification.thread else ''}[Forewarn] {wording.one_line(notification.subject, 150)}"
    mail["Date"] = notification.incident.updated_at
    mail["Message-ID"] = _message_id(notification.message_id)
    thread = _thread(notification)
    if thread:
        mail["In-Reply-To"] = thread[-1]
        mail["References"] = " ".join(thread)
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Forewarn-Incident"] = notification.incident.incident_id
    mail.set_content(_templates(False).get_template("incident.txt.j2").render(facts))
    mail.add_alternative(_templates(True).get_template("incident.html.j2").render(facts), subtype="html")
    if picture is not None:
        html = mail.get_payload()[1]  # type: ignore[index]
        html.add_related(picture, "image", "png", cid=f"<{_CID}>", filename="forecast.png", disposition="inline")  # type: ignore[union-attr]
    return mail


def render_digest(digest: Digest, sender: str, recipients: str) -> EmailMessage:
    """One mail about several incidents."""
    title = wording.digest_title(digest)
    mail = EmailMessage(policy=POLICY)
    mail["From"], mail["To"] = sender, recipients
    mail["Subject"] = f"[Forewarn] {title}"
    mail["Date"] = max(n.incident.updated_at for n in digest.notifications)
    mail["Message-ID"] = _message_id(digest.message_id)
    mail["Auto-Submitted"] = "auto-generated"
    lines = [(wording.told_line(n), n.url, _COLOURS[_colour(n)]) for n in digest.notifications]
    facts = {"title": title, "lines": lines, "why": wording.one_line(digest.why, 400), "url": digest.url}
    mail.set_content(_templates(False).get_template("digest.txt.j2").render(facts))
    mail.add_alternative(_templates(True).get_template("digest.html.j2").render(facts), subtype="html")
    return mail


def _thread(notification: Notification) -> list[str]:
    """Message-IDs of the earlier mails; where one was a digest, that of the digest."""
    earlier = zip(notification.thread, [*notification.receipts, *({} for _ in notification.thread)], strict=False)
    return list(dict.fromkeys(_message_id(str(receipt.get("message_id", own))) for own, receipt in earlier))


def _colour(notification: Notification) -> str:
    return "closed" if notification.reason in CLOSINGS else notification.incident.severity


def _picture(notification: Notification) -> tuple[str, bytes | None]:
    """Alternative text and PNG: the newest forecast; once it has failed, the first one with the failure marked."""
    cause = notification.cause
    failed_at = cause.failed_at if notification.incident.failed_at is not None else None
    risk = cause.first if failed_at is not None else cause.risk
    picture = draw_forecast(risk, failed_at) if risk is not None else None
    return (alt_text(risk, failed_at), picture) if risk is not None and picture is not None else ("", None)


def _message_id(message_id: str) -> str:
    return f"<{message_id}@forewarn.invalid>"


def _facts(notification: Notification, alt: str, picture: str) -> dict[str, object]:
    incident = notification.incident
    closed = notification.reason in CLOSINGS
    risk = notification.cause.risk
    return {
        "headline": wording.headline(notification),
        "severity": "" if closed else incident.severity,
        "closed": closed,
        "colour": _COLOURS["closed" if closed else incident.severity],
        "subject": wording.one_line(notification.subject),
        "title": wording.one_line(incident.title),
        "summary": wording.sentence(notification),
        "countdown": wording.countdown(notification),
        "scorecard": wording.scorecard(notification),
        "picture": picture,
        "alt": wording.one_line(alt, 600),
        "advice": wording.advice(incident.actions),
        "reasons": wording.reasons(incident.drivers),
        "evidence": wording.evidence(notification),
        "affected": wording.affected(notification.others),
        "url": notification.url,
        "why": wording.plain_why(notification),
        "confirm": "" if closed else notification.links.confirm,
        "dismiss": "" if closed else notification.links.dismiss,
        "at": format_instant(incident.updated_at),
        "model": wording.one_line(risk.model_version, 80) if risk is not None else "",
        "incident_id": incident.incident_id,
        "version": incident.version,
    }


@cache
def _templates(html: bool) -> jinja2.Environment:
    """Everything is escaped in HTML; the text part has nothing to escape."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("forewarn.alerting"), autoescape=html, undefined=jinja2.StrictUndefined
    )
