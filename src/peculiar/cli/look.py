"""Commands that show what an atlas holds, and change nothing."""

import re
from pathlib import Path
from typing import Annotated

import typer

from peculiar.cli.commands import FAILED, AtlasArgument, app, open_atlas
from peculiar.cli.console import cell, console, escaped, print_rows, print_top


@app.command()
def top(
    atlas: AtlasArgument,
    n: Annotated[int, typer.Option("-n", help="how many")] = 25,
    by: Annotated[str, typer.Option(help="any score, measure or catalog column; empty: the first shown")] = "",
    where: Annotated[str, typer.Option(help="only those that pass this filter, as 'ra < 150 and dec > 2'")] = "",
    ranking: Annotated[str, typer.Option(help="name of the ranking")] = "main",
    figure: Annotated[bool, typer.Option("--figure", help="make the picture too, in figures/")] = False,
) -> None:
    """Show the most anomalous objects, ranked; --figure makes the picture."""
    opened = open_atlas(atlas)
    by = by or opened.ranking(ranking).first_shown
    print_top(opened, n, by, ranking, where)
    if figure:
        from peculiar.run import save_figure

        name = re.sub("[^A-Za-z0-9_-]", "_", by)
        path = opened.folder / "figures" / f"top-{n}-{name}{'' if ranking == 'main' else '-' + ranking}.png"
        path.parent.mkdir(exist_ok=True)
        save_figure(opened.figure_top(n, by=by, where=where, ranking=ranking), path)
        console().print(f"figure: {path}")


@app.command()
def significance(
    atlas: AtlasArgument,
    by: Annotated[str, typer.Option(help="a score; best a conditional form")] = "score_anom_conditional",
    null: Annotated[
        Path | None, typer.Option(help="table of object_id of ordinary objects; empty: the lower half of all, mirrored")
    ] = None,
    ranking: Annotated[str, typer.Option(help="name of the ranking")] = "main",
) -> None:
    """Count the objects that are significant by a score, at several false-discovery rates."""
    import numpy as np

    from peculiar.scoring.significance import LEVELS

    opened = open_atlas(atlas)
    ordinary = None
    if null is not None:
        from peculiar.io.tables import read_table
        from peculiar.learning import ids_of

        ids, has_id = ids_of(read_table(null), null)
        ordinary = ids[has_id]
    found = opened.significance(by, null=ordinary, ranking=ranking)
    rates = np.ma.filled(found["false_discovery_rate"], np.nan)
    rows = [(f"{level:g}", int((rates <= level).sum()), f"{level * (rates <= level).sum():.1f}") for level in LEVELS]
    print_rows(["false-discovery rate", "objects", "of them by chance"], rows, f"{len(found):,} objects by {by}")


@app.command()
def info(
    atlas: AtlasArgument, name: Annotated[str, typer.Argument(metavar="OBJECT", help="object_id or source")]
) -> None:
    """Show all that the atlas has on one object: catalog, scores, rank; or why it is in quarantine."""
    from rich.table import Table

    shown = Table(show_header=False, box=None)
    for key, value in open_atlas(atlas).info(name).items():
        shown.add_row(key, cell(value))
    console(is_error=False).print(shown)


@app.command()
def status(atlas: AtlasArgument) -> None:
    """Show what is complete, interrupted, behind (objects to come) or stale (inputs changed)."""
    from rich.table import Table

    shown = Table()
    for name in ("stage", "folder", "state", "detail"):
        shown.add_column(name, overflow="fold", no_wrap=name == "state")
    color = {"complete": "green", "absent": "dim", "interrupted": "yellow", "behind": "yellow", "stale": "red"}
    for each in open_atlas(atlas).status():
        shown.add_row(each.stage, each.folder, f"[{color[each.state]}]{each.state}[/]", escaped(each.detail))
    console(is_error=False).print(shown)


@app.command()
def check(atlas: AtlasArgument) -> None:
    """Check that ids agree, that networks are those that scored, and that scores can be made again."""
    findings = open_atlas(atlas).check()
    for each in findings:
        mark = "[green]right[/]" if each.is_right else "[red]wrong[/]"
        console(is_error=False).print(f"{mark}  {escaped(each.question)}: {escaped(each.detail)}")
    if not all(each.is_right for each in findings):
        raise typer.Exit(FAILED)


@app.command()
def quarantine(
    atlas: AtlasArgument, n: Annotated[int, typer.Option("-n", help="how many to show; 0 for all")] = 50
) -> None:
    """Show what could not be read, and why."""
    from rich.table import Table

    table = open_atlas(atlas).quarantine
    shown, count = Table("source", "rule", "value", "reason"), 0
    for batch in table.scan(["source", "rule", "value", "reason"]):
        for row in batch.to_pylist():
            count += 1
            if not n or count <= n:
                shown.add_row(*map(escaped, row.values()))
    console(is_error=False).print(shown)
    console(is_error=False).print(f"{count} in quarantine")
