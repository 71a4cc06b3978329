"""Units to base units: seconds, bytes and ratios, as Prometheus names them (https://prometheus.io/docs/practices/naming)."""

from functools import lru_cache

_SCALED = {
    "ns": ("s", 1e-9),
    "us": ("s", 1e-6),
    "µs": ("s", 1e-6),
    "ms": ("s", 1e-3),
    "min": ("s", 60.0),
    "h": ("s", 3600.0),
    "d": ("s", 86_400.0),
    "%": ("1", 0.01),
    **{f"{prefix}iBy": ("By", 1024.0**power) for power, prefix in enumerate("KMGTP", 1)},
    **{f"{prefix}By": ("By", 1000.0**power) for power, prefix in enumerate("kMGTP", 1)},
}


@lru_cache(maxsize=4096)
def base_unit(unit: str) -> tuple[str, float]:
    """The base unit of a UCUM unit (https://ucum.org), as OpenTelemetry writes it, and the factor to it.

    `ms` is 0.001 `s`, `MiBy/s` is 1048576 `By/s`, `%` is 0.01 `1`; every other unit stays as it is, with factor 1.
    """
    numerator, slash, per = unit.partition("/")
    base, factor = _SCALED.get(numerator, (numerator, 1.0))
    return (f"{base}{slash}{per}", factor) if factor != 1.0 else (unit, 1.0)
