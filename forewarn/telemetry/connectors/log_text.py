"""The text of a log line without what differs from line to line: numbers, addresses, ids, times."""

import re

import msgspec

MOST_CHARACTERS = 500  # of a line that are looked at
_MOST_JSON = 20_000
_KEYS = ("message", "msg", "event", "log", "body")

_PARTS = {
    "UUID": r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b",
    "TIME": r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?",
    "IP": r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?(?![\w.])|\b(?:[0-9a-fA-F]{1,4}:){4,7}[0-9a-fA-F]{1,4}\b",
    "HEX": r"\b0[xX][0-9a-fA-F]+\b|\b(?=[a-fA-F]*\d)(?=\d*[a-fA-F])[0-9a-fA-F]{8,}\b",
    "NUM": r"(?<![A-Za-z0-9])\d+(?:[.,:]\d+)*",
}
_VARIABLE = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _PARTS.items()))
_decode = msgspec.json.Decoder(dict[str, object]).decode


def masked(text: str) -> str:
    """The text with a mark such as <NUM> wherever something variable stood."""
    return _VARIABLE.sub(_mark, text)


def message_of(body: str) -> str:
    """What a line says, at most 500 characters: of a JSON object its message, of several lines the first."""
    if body.startswith("{") and len(body) <= _MOST_JSON:
        body = _message_of_json(body)
    line = body[: 4 * MOST_CHARACTERS].lstrip().partition("\n")[0][:MOST_CHARACTERS]
    return line if line.isprintable() else "".join(c if c.isprintable() else " " for c in line)


def _mark(found: "re.Match[str]") -> str:
    return f"<{found.lastgroup}>"


def _message_of_json(body: str) -> str:
    try:
        fields = _decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return body
    said = next((fields[key] for key in _KEYS if isinstance(fields.get(key), str) and fields[key]), body)
    return str(said)
