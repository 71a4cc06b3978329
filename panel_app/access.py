"""Who may see the dashboard and who may change something: readers and editors."""

from dataclasses import dataclass

READER, EDITOR = "reader", "editor"


@dataclass(frozen=True, slots=True)
class Access:
    """Roles by user. Without sign-in (`on` is False) everybody is an editor."""

    on: bool = False

    def role_of(self, user: str | None) -> str | None:
        """READER, EDITOR, or None for who may not see anything."""
        return None if self.on else EDITOR
