"""`forewarn models`: which model serves and why, how two compare, and changing it by hand."""

import dataclasses
import getpass
import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forewarn.cli.failure import CommandError
from forewarn.cli.options import Home

if TYPE_CHECKING:
    import psycopg

    from forewarn.config.settings import Settings
    from forewarn.stores.model_versions import Change

app = typer.Typer(
    rich_markup_mode="rich", add_completion=False, no_args_is_help=True,
    help="Show which model serves and why; compare two; promote one or go back.",
)  # fmt: skip

Json = Annotated[bool, typer.Option("--json", help="As JSON on standard output.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Reason = Annotated[str, typer.Option("--reason", "-m", metavar="TEXT", help="Why; it stays in the audit log.")]


@app.command("list", epilog="Example:\n\n[bold]forewarn models list --json | jq '.[0].version'[/]")
def list_(as_json: Json = False, home: Home = None) -> None:
    """All versions with stage, age, figures on held-out days, and why each has its stage."""
    from forewarn.cli import models_display
    from forewarn.stores import model_versions as registry

    with _connected(home) as (_, connection):
        found = sorted(registry.versions(connection), key=lambda v: (v.stage != "champion", v.stage != "shadow"))
    if as_json:
        _write([dataclasses.asdict(v) for v in found])
    else:
        models_display.versions(found)


@app.command("show")
def show(
    version: Annotated[str, typer.Argument(help="A version of `forewarn models list`.")],
    as_json: Json = False,
    home: Home = None,
) -> None:
    """All about one version: figures beside those of the simple methods, health, ledger, and every decision."""
    from forewarn.cli import models_display
    from forewarn.stores import model_versions as registry

    with _connected(home) as (_, connection):
        found = registry.find(connection, _bare(version))
        decisions = registry.decisions(connection, found.version)
        health, realised = _health(connection, found.version), _realised(connection, found.version)
    if as_json:
        told = [dataclasses.asdict(d) for d in decisions]
        here = {"health": dataclasses.asdict(health), "realised": dataclasses.asdict(realised)}
        _write(dataclasses.asdict(found) | {"decisions": told} | here)
    else:
        models_display.version(found, decisions, health, realised)


@app.command("compare", epilog="Example:\n\n[bold]forewarn models compare champion shadow[/]")
def compare(
    first: Annotated[str, typer.Argument(help="A version, or 'champion'.")],
    second: Annotated[str, typer.Argument(help="A version, or 'shadow'.")],
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Two versions side by side: held-out figures, health, and what both said of the same live rows.

    The figures of each come from its own held-out days. Where one has been the other's shadow, the paired comparison
    by which a shadow is promoted follows: the second takes the part of the shadow.
    """
    from forewarn.cli import models_display
    from forewarn.evaluation.lifecycle.shadow import ShadowPolicy, judge_shadow
    from forewarn.stores import model_versions as registry
    from forewarn.stores.lifecycle.shadowing import shadow_evidence

    with _connected(home) as (settings, connection):
        one, other = (registry.find(connection, _named(connection, name)) for name in (first, second))
        healths = [_health(connection, v.version) for v in (one, other)]
        window = timedelta(seconds=settings.incident_window_seconds)
        seen = shadow_evidence(connection, one.version, other.version, window, settings.min_lead_seconds)
    policy = ShadowPolicy(settings.shadow_min_incidents, most=timedelta.max)
    verdict = judge_shadow(seen.pairs, seen.told_by_shadow, seen.told_by_champion, policy)
    paired = len(seen.pairs.failed) > 0
    if as_json:
        verdicts = {"paired": dataclasses.asdict(verdict)} if paired else {}
        _write({"first": dataclasses.asdict(one), "second": dataclasses.asdict(other),
                "health": [dataclasses.asdict(h) for h in healths], **verdicts})  # fmt: skip
    else:
        models_display.comparison(one, other, healths, verdict if paired else None)


@app.command("promote", epilog="Example:\n\n[bold]forewarn models promote 20260301-031500 -m 'seen in staging'[/]")
def promote(
    version: Annotated[str, typer.Argument(help="The version that is to serve, or 'shadow'.")],
    reason: Reason = "by hand",
    yes: Yes = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Make a version the champion; the predictor takes it up within seconds. The one before is kept as retired."""
    from forewarn.stores import model_versions as registry

    with _connected(home) as (_, connection):
        before = registry.served(connection)
        wanted = _named(connection, version)
        found = registry.find(connection, wanted)
        if wanted == before.champion:
            raise CommandError(f"{wanted} is the champion already")
        _confirm(f"Promote {wanted} ({found.stage}: {found.reason}) in place of {before.champion or 'no model'}?", yes)
        _report(registry.promote(connection, wanted, _actor(), reason, before.revision), as_json)


@app.command("rollback", epilog="Example:\n\n[bold]forewarn models rollback -m 'pages at night for nothing' --yes[/]")
def rollback(reason: Reason = "by hand", yes: Yes = False, as_json: Json = False, home: Home = None) -> None:
    """Go back to the champion before this one, which is marked as broken and will not serve again.

    Where there is none before it, the first-day model serves until another one is promoted.
    """
    from forewarn.stores import model_versions as registry

    with _connected(home) as (_, connection):
        before = registry.served(connection)
        if before.champion is None:
            raise CommandError("there is no champion to roll back: the first-day model serves")
        target = registry.previous_champion(connection)
        to = f"{target.version} ({_age(target.trained_at)} old)" if target else "the first-day model"
        _confirm(f"Mark {before.champion} as broken and go back to {to}?", yes)
        _report(registry.roll_back(connection, _actor(), reason, before.revision), as_json)


@app.command("withhold")
def withhold(
    version: Annotated[str, typer.Argument(help="A candidate or the shadow.")],
    reason: Reason = "by hand",
    yes: Yes = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """End a shadow, or decide against a candidate."""
    from forewarn.stores import model_versions as registry

    with _connected(home) as (_, connection):
        before = registry.served(connection)
        wanted = _named(connection, version)
        _confirm(f"Withhold {wanted} ({registry.find(connection, wanted).stage})?", yes)
        _report(registry.withhold(connection, wanted, _actor(), reason, before.revision), as_json)


@contextmanager
def _connected(home: Path | None) -> "Iterator[tuple[Settings, psycopg.Connection[Any]]]":
    """Settings and a connection; what goes wrong becomes a sentence with what to do."""
    from forewarn.cli.database import connected, settings_of_stack
    from forewarn.stores.model_versions import TransitionError

    settings = settings_of_stack(home)
    try:
        with connected(settings, autocommit=True) as connection:
            yield settings, connection
    except TransitionError as error:
        raise CommandError(str(error)) from error


def _named(connection: "psycopg.Connection[Any]", name: str) -> str:
    """A version by its name, or by its role."""
    from forewarn.stores import model_versions as registry

    if name not in ("champion", "shadow"):
        return _bare(name)
    served = registry.served(connection)
    found = served.champion if name == "champion" else served.shadow
    if found is None:
        raise CommandError(f"there is no {name} now; see `forewarn models list`")
    return found


def _bare(version: str) -> str:
    return version.removeprefix("forewarn:")


def _health(connection: "psycopg.Connection[Any]", version: str) -> Any:
    """How a version did as champion in the last day."""
    from forewarn.stores import model_health

    now = datetime.now(UTC)
    return model_health.read(connection, version, now - timedelta(days=1), now + timedelta(minutes=1))


def _realised(connection: "psycopg.Connection[Any]", version: str) -> Any:
    from forewarn.stores.lifecycle.realised import realised

    return realised(connection, version, None, None)


def _confirm(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(f"{question} Give --yes to do it without being asked.")
    if not typer.confirm(question, err=True):
        raise CommandError("nothing was changed")


def _report(change: "Change", as_json: bool) -> None:
    from forewarn.cli import models_display

    if as_json:
        _write(dataclasses.asdict(change))
    else:
        models_display.change(change)


def _actor() -> str:
    """Who did it, for the audit log."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "someone"
    return f"{user}@{socket.gethostname()}"


def _age(time: datetime) -> str:
    from forewarn.cli.words import age

    return age((datetime.now(UTC) - time).total_seconds())


def _write(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")
