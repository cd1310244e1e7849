"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[Path, typer.Option("--data", help="Data folder, as `import` makes it.")]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace what an earlier run left at --out.")
]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SECTION.KEY=VALUE]...",
        help="Keys of the recipe to set otherwise, values as in YAML: seed=8.",
    ),
]
