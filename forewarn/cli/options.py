"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="Folder of all local state.", show_default="FOREWARN_HOME or .forewarn"),
]
