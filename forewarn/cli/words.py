"""Durations and sizes as people write them."""

_STEPS = (  # below so many seconds: sizes and names of the two units
    (3600.0, 60, 1, "min", "s"),
    (86_400.0, 3600, 60, "h", "min"),
    (float("inf"), 86_400, 3600, "d", "h"),
)


def age(seconds: float | None) -> str:
    """'12 s', '3 min 20 s', '5 h 10 min', '3 d 4 h'; empty for None."""
    if seconds is None:
        return ""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    large, small, large_name, small_name = next(step[1:] for step in _STEPS if whole < step[0])
    rest = whole % large // small
    return f"{whole // large:,} {large_name}" + (f" {rest} {small_name}" if rest else "")


def memory(size: int | None) -> str:
    """'85 MiB', '1.2 GiB'; empty for None."""
    if size is None:
        return ""
    return f"{size / 2**20:,.0f} MiB" if size < 2**30 else f"{size / 2**30:,.1f} GiB"
