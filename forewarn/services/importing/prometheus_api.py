"""Prometheus' HTTP API as an import needs it: how much there is, and pieces of it; patient with a busy server."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import httpx
import msgspec
import numpy as np
from numpy.typing import NDArray
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from forewarn.telemetry.retry_after import BusyError, retry_after, wait_as_asked

MOST_POINTS = 11_000  # of a series in one range query; https://prometheus.io/docs/prometheus/latest/querying/api/
_RETRY_STATUS = frozenset({408, 429, 502, 503, 504})
_wait = wait_as_asked(wait_random_exponential(multiplier=0.3, max=20))
_LONGEST_WAIT_SECONDS = 60.0
_SHORTEST_MS = 60_000  # series of a minute are not too many
_TOO_MUCH = ("too many samples", "exceeded maximum resolution", "timed out", "timeout", "too large", "limit")


class PrometheusError(Exception):
    """Prometheus cannot be asked; the message says what to do."""


class TooMuchError(PrometheusError):
    """The server gives up on a query of this size: ask for less at once."""


class _SameLabelsError(PrometheusError):
    """A function drops the names of metrics, and then several have the same labels."""


class _Row(msgspec.Struct):
    metric: dict[str, str]
    values: list[tuple[float, str]] = []
    value: tuple[float, str] | None = None


class _Matrix(msgspec.Struct):
    result: list[_Row]


class _Found(msgspec.Struct):
    data: _Matrix


class _SeriesFound(msgspec.Struct):
    data: list[msgspec.Raw]


class _NamesFound(msgspec.Struct):
    data: list[dict[str, str]]


class _Failed(msgspec.Struct):
    error: str = ""
    errorType: str = ""  # noqa: N815


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Samples of a series: times int64 [n] in milliseconds since 1970, values float64 [n]."""

    labels: dict[str, str]
    times: NDArray[np.int64]
    values: NDArray[np.float64]


class PrometheusApi:
    """A server of Prometheus' query API (Prometheus, Thanos, Mimir, VictoriaMetrics). Use as a context manager.

    url: with the path before `/api/v1`. User and password in the address are used, never shown.
    patience_seconds: how long one query is tried again while the server is away or says 429 or 503.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        login: tuple[str, str] | None = None,
        patience_seconds: float = 300.0,
        timeout_seconds: float = 120.0,
    ) -> None:
        address = httpx.URL(url)
        if login is None and address.username:
            login = address.username, address.password
        self.address = str(address.copy_with(username=None, password=None)).rstrip("/")
        self.retries = 0
        self._answered = False
        self._patience = patience_seconds
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        auth = httpx.BasicAuth(*login) if login and not token else None
        self._client = httpx.Client(headers=headers, auth=auth, timeout=timeout_seconds, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def count_series(self, selector: str, start_ms: int, stop_ms: int) -> int:
        """Series that have samples in the interval. Raises PrometheusError."""
        found = self._ask("series", {"match[]": selector, "start": _time(start_ms), "end": _time(stop_ms)})
        return len(_decode(found, _SeriesFound).data)

    def count_samples(self, selector: str, start_ms: int, stop_ms: int, width_ms: int) -> NDArray[np.int64]:
        """Raw samples in each cell of `width_ms` from start to stop: an estimate where metrics of several names share
        their labels, for Prometheus counts those only name by name. Raises PrometheusError."""
        span = start_ms, stop_ms, width_ms
        try:
            return self._counts(f"sum(count_over_time({selector}[{width_ms}ms]))", *span)
        except _SameLabelsError:
            one = self._one_name(selector, start_ms, stop_ms)
        samples = self._counts(f"sum(count_over_time({one}[{width_ms}ms]))", *span)
        each = -(-samples // np.maximum(self.count_alive(one, *span), 1))  # samples of a series
        alive = self.count_alive(selector, *span)
        return alive * np.where(each > 0, each, max(int(each.max(initial=0)), 1))

    def _one_name(self, selector: str, start_ms: int, stop_ms: int) -> str:
        """The selector, of the name alone that has most series."""
        try:
            found = self._ask("series", {"match[]": selector, "start": _time(start_ms), "end": _time(stop_ms)})
        except TooMuchError:
            if stop_ms - start_ms < _SHORTEST_MS:
                raise
            return self._one_name(selector, (start_ms + stop_ms) // 2, stop_ms)
        names = Counter(labels.get("__name__", "") for labels in _decode(found, _NamesFound).data)
        inside = selector.strip().removesuffix("}").rstrip().removesuffix(",")
        return f'{inside}, __name__="{max(names, key=lambda name: names[name])}"}}'

    def count_alive(self, selector: str, start_ms: int, stop_ms: int, width_ms: int) -> NDArray[np.int64]:
        """Series that have samples in each cell of `width_ms`. Raises PrometheusError."""
        return self._counts(f"count(last_over_time({selector}[{width_ms}ms]))", start_ms, stop_ms, width_ms)

    def raw(self, selector: str, start_ms: int, stop_ms: int) -> Iterator[Stretch]:
        """Samples as they were scraped, start <= time < stop. Raises PrometheusError."""
        query = {"query": f"{selector}[{stop_ms - start_ms}ms]", "time": _time(stop_ms - 1)}
        return _stretches(self._ask("query", query), start_ms, stop_ms)

    def grid(self, selector: str, start_ms: int, stop_ms: int, step_ms: int) -> Iterator[Stretch]:
        """The value at every step, start <= time < stop, as Prometheus sees it there. Raises PrometheusError."""
        query = {"query": selector, "start": _time(start_ms), "end": _time(stop_ms - 1), "step": f"{step_ms}ms"}
        return _stretches(self._ask("query_range", query), start_ms, stop_ms)

    def _counts(self, query: str, start_ms: int, stop_ms: int, width_ms: int) -> NDArray[np.int64]:
        counts = np.zeros(-(-(stop_ms - start_ms) // width_ms), np.int64)
        first, most = 0, MOST_POINTS
        while first < len(counts):
            last = min(first + most, len(counts))
            begin, end = start_ms + (first + 1) * width_ms, start_ms + last * width_ms
            asked = {"query": query, "start": _time(begin - 1), "end": _time(end - 1), "step": f"{width_ms}ms"}
            try:
                content = self._ask("query_range", asked)
            except TooMuchError:
                if last == first + 1:
                    raise
                most = (last - first) // 2
                continue
            for stretch in _stretches(content, begin - 1, end):
                counts[first + (stretch.times - begin + 1) // width_ms] = stretch.values
            first = last
        return counts

    def _ask(self, what: str, query: dict[str, str]) -> bytes:
        retrying = Retrying(
            retry=retry_if_exception_type((BusyError, httpx.TransportError)),
            wait=_wait,
            stop=stop_after_delay(self._patience if self._answered else min(self._patience, 5.0)),
            before_sleep=self._count_retry,
            reraise=True,
        )
        try:
            content: bytes = retrying(self._once, what, query)
        except httpx.TransportError as error:
            raise PrometheusError(
                f"no Prometheus answers at {self.address} ({str(error) or type(error).__name__}). Is the address "
                "right? What was imported is kept: run the same command again to go on."
            ) from error
        except BusyError as error:
            raise PrometheusError(
                f"{self.address} stayed busy: {error}. What was imported is kept: run the same command again to go on."
            ) from error
        self._answered = True
        return content

    def _once(self, what: str, query: dict[str, str]) -> bytes:
        try:
            response = self._client.post(f"{self.address}/api/v1/{what}", data=query)
        except httpx.ReadTimeout as error:
            if self._answered:
                raise TooMuchError(f"{self.address} took too long for one piece") from error
            raise
        if response.status_code == 200:
            return response.content
        reason = _reason(response)
        if response.status_code in (401, 403):
            raise PrometheusError(
                f"{self.address} does not let you in ({response.status_code}): set FOREWARN_PROMETHEUS_TOKEN, or "
                "FOREWARN_PROMETHEUS_USER and FOREWARN_PROMETHEUS_PASSWORD"
            )
        if response.status_code in (413, 422, 503) and any(sign in reason for sign in _TOO_MUCH):
            raise TooMuchError(f"{self.address}: {reason}")
        if response.status_code in _RETRY_STATUS:
            raise BusyError(f"{response.status_code} {reason}", retry_after(response, _LONGEST_WAIT_SECONDS))
        if response.status_code == 404:
            raise PrometheusError(f"{self.address}/api/v1/{what} does not exist: is this the address of a Prometheus?")
        if "same labelset" in reason:
            raise _SameLabelsError(f"{self.address}: {reason}")
        raise PrometheusError(f"{self.address} refused the query ({response.status_code}): {reason}")

    def _count_retry(self, state: RetryCallState) -> None:
        self.retries += 1


def _stretches(content: bytes, start_ms: int, stop_ms: int) -> Iterator[Stretch]:
    for row in _decode(content, _Found).data.result:
        if not row.values:
            continue  # native histograms alone
        seconds, texts = zip(*row.values, strict=True)
        times = np.round(np.array(seconds) * 1000).astype(np.int64)
        inside = (times >= start_ms) & (times < stop_ms)  # whether a range has its first instant differs by version
        yield Stretch(row.metric, times[inside], np.array(texts, np.str_).astype(np.float64)[inside])


def _decode(content: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise PrometheusError(f"the answer is not one of Prometheus' query API: {error}") from error


def _time(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.3f}"


def _reason(response: httpx.Response) -> str:
    try:
        return msgspec.json.decode(response.content, type=_Failed).error[:300]
    except msgspec.MsgspecError:
        return "".join(c for c in response.text if c.isprintable())[:300]
