"""What is raised where a recording cannot be read."""


class RecordingError(ValueError):
    """A folder that is not a recording as docs/data-formats.md describes it: says file, place and what to do."""
