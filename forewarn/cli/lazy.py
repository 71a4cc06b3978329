"""Commands whose module is imported when they are called, not when the help lists them."""

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any, ClassVar

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True)
class LazyCommand:
    """`module` holds a function named `function`, which becomes the command `name`."""

    name: str
    module: str
    function: str
    panel: str
    help: str


class LazyGroup(TyperGroup):
    """A group that lists lazy commands by their one line of help and loads one when it is called."""

    lazy: ClassVar[tuple[LazyCommand, ...]] = ()

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of definition; a command whose module is not installed is not listed."""
        return [*super().list_commands(ctx), *(each.name for each in self.lazy if _is_installed(each))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, or for a lazy one a placeholder that knows only its help."""
        found = self._lazy(cmd_name)
        if found is None:
            return super().get_command(ctx, cmd_name)
        return TyperCommand(name=found.name, help=found.help, rich_help_panel=found.panel)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called, loaded."""
        found = self._lazy(args[0])
        if found is None:
            return super().resolve_command(ctx, args)
        return found.name, _load(found), args[1:]

    def _lazy(self, name: str) -> LazyCommand | None:
        return next((each for each in self.lazy if each.name == name and _is_installed(each)), None)


def _is_installed(command: LazyCommand) -> bool:
    return importlib.util.find_spec(command.module) is not None


def _load(command: LazyCommand) -> Any:
    module = importlib.import_module(command.module)
    given = getattr(module, "app", None)
    holder = given if isinstance(given, typer.Typer) else typer.Typer(rich_markup_mode="rich")
    if holder is not given:
        holder.command(command.name)(getattr(module, command.function))
    loaded = typer.main.get_command(holder)
    loaded.name = command.name
    return loaded
