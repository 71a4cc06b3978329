"""Starts a job in the Dagster that runs here and follows it: `python -m monitor_assets.launch train`."""

import os
import sys
import time
from collections.abc import Iterator
from typing import Annotated

os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "yes")

import typer
from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError
from rich.console import Console

from forewarn.config.running import client_settings

_EVENTS = """
query ($run: ID!, $after: String) {
  logsForRun(runId: $run, afterCursor: $after) {
    ... on EventConnection {
      cursor
      events {
        __typename
        ... on MessageEvent { timestamp stepKey message }
        ... on ExecutionStepFailureEvent { error { message causes { message } } }
        ... on RunFailureEvent { error { message } }
        ... on AssetCheckEvaluationEvent { evaluation { checkName success } }
      }
    }
  }
}
"""
_PERIOD_SECONDS = 1.0


def main(
    job: Annotated[str, typer.Argument(help="train or drift")],
    namespace: Annotated[str, typer.Option(help="service.namespace to train on")] = "shop",
    start: Annotated[str, typer.Option(help="ISO time; the oldest sample without it")] = "",
    stop: Annotated[str, typer.Option(help="ISO time, exclusive; the newest sample without it")] = "",
    timeout: Annotated[float, typer.Option(min=1, help="seconds until this gives up following; the run goes on")] = 900,
) -> None:
    """Start a job and print a line for each step; exit status 0 only if it succeeded."""
    console = Console(highlight=False)
    port = client_settings().dagster_port
    try:
        client = DagsterGraphQLClient("127.0.0.1", port_number=port)
        config = {"resources": {"scope": {"config": {"namespace": namespace, "start": start, "stop": stop}}}}
        run = client.submit_job_execution(job, run_config=config)
    except (DagsterGraphQLClientError, OSError) as error:
        sys.exit(f"Dagster on port {port} did not take the job: {error}. Is it up? `forewarn status` tells.")
    console.print(f"run {run[:8]}: http://127.0.0.1:{port}/runs/{run}")
    sys.exit(0 if _follow(client, run, console, timeout) else 1)


def _follow(client: DagsterGraphQLClient, run: str, console: Console, timeout: float) -> bool:
    """Print events until the run ends; whether it succeeded."""
    began, started = time.monotonic(), {}
    for event in _events(client, run, began + timeout):
        kind, step = event["__typename"], event.get("stepKey") or ""
        at = float(event.get("timestamp") or 0) / 1000
        if kind == "ExecutionStepStartEvent":
            started[step] = at
        elif kind == "ExecutionStepSuccessEvent" and not _is_check(step):
            console.print(f"  {at - started.get(step, at):5.1f} s  {step}")
        elif kind == "AssetCheckEvaluationEvent":
            check = event["evaluation"]
            mark = "[green]✓[/]" if check["success"] else "[yellow]✗[/]"
            console.print(f"           {mark} {check['checkName'].replace('_', ' ')}")
        elif kind == "ExecutionStepFailureEvent":
            console.print(f"  [red]failed[/]  {step}: {_reason(event['error'])}", soft_wrap=True)
        elif kind in ("RunSuccessEvent", "RunFailureEvent", "RunCanceledEvent"):
            console.print(
                f"{kind.removeprefix('Run').removesuffix('Event').lower()} after {time.monotonic() - began:.0f} s"
            )
            return bool(kind == "RunSuccessEvent")
    console.print("the run has not ended yet; it goes on in Dagster")
    return False


def _events(client: DagsterGraphQLClient, run: str, deadline: float) -> Iterator[dict]:
    cursor = None
    while time.monotonic() < deadline:
        answer = client._execute(_EVENTS, {"run": run, "after": cursor})["logsForRun"]
        yield from answer.get("events", [])
        cursor = answer.get("cursor", cursor)
        time.sleep(_PERIOD_SECONDS)


def _is_check(step: str) -> bool:
    return "_" in step and any(
        word in step for word in ("_have_", "_sees_", "_beats_", "_beat_", "_end_with_", "_are_")
    )


def _reason(error: dict | None) -> str:
    if not error:
        return "see Dagster"
    causes = [c["message"] for c in error.get("causes") or []]
    return (causes[-1] if causes else error["message"]).strip()


if __name__ == "__main__":
    typer.run(main)
