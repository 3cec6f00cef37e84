"""Commands that follow an object up: target lists for the telescope, and lines of its spectrum."""

from pathlib import Path
from typing import Annotated, Any

import typer

from peculiar.cli.commands import AtlasArgument, NameOption, app, open_atlas, with_options
from peculiar.cli.console import console, escaped
from peculiar.stages.follow_up import FollowUpConfig
from peculiar.stages.lines import LinesConfig, measure_file


@app.command("follow-up")
def follow_up(atlas: AtlasArgument, name: NameOption = "main", **given: Any) -> None:
    """Make a target list for a telescope: finding charts, when they are up, and tables for observing tools.

    The first 20 by the order first shown, or those of a filter or a list of ids. With an observatory: each target's
    altitude over a night, and its dark hours over a season. The list is made anew each time: to keep one, give the
    next another --name. Needs: pip install "peculiar[spectra]" for those."""
    opened = open_atlas(atlas)
    run = opened.follow_up(name=name, **{key: each for key, each in given.items() if each is not None})
    home = opened.folder / "follow-up" / name
    left_out = run.outputs["n_without_position"]
    said = f", {left_out} without a position left out" if left_out else ""
    console().print(f"follow-up: {run.outputs['n_objects']} targets{said}")
    console().print(f"page: {escaped(home / 'targets.html')}")


with_options(follow_up, FollowUpConfig)


@app.command()
def lines(
    spectrum: Annotated[Path, typer.Argument(metavar="SPECTRUM", help="the file", show_default=False)],
    output: Annotated[
        Path | None, typer.Option(help="folder for the results; empty: named as the file", show_default=False)
    ] = None,
    atlas: Annotated[Path | None, typer.Option(help="or write them beside an object of this atlas")] = None,
    name: Annotated[str, typer.Option("--object", help="which: its object_id or source")] = "",
    **given: Any,
) -> None:
    """Measure a spectrum: redshift, lines in one or two components, and what they tell of the galaxy.

    Dust, oxygen abundance by several calibrations, what ionizes the gas, density, star formation; each with its error
    or its limit. The page lines.html shows the fit. With --atlas the results become columns of that object.
    Everything is made anew each time. Needs: pip install "peculiar[spectra]"."""
    config = LinesConfig(spectrum=spectrum, **{key: each for key, each in given.items() if each is not None})
    if (atlas is None) != (not name):
        raise ValueError("give --atlas and --object together, or neither")
    if atlas is not None:
        told = {key: each for key, each in vars(config).items() if key != "spectrum"}
        run = open_atlas(atlas).lines(name, spectrum, **told)
        home = atlas / "spectra" / "main" / "objects" / str(run.outputs["object_id"])
    else:
        home = output or Path("-".join(filter(None, (spectrum.stem, config.row, "lines"))))
        run = measure_file(config, home)
    found = run.outputs
    redshifts = ", ".join(
        f"{z:.6f} +- {error:.6f}" for z, error in zip(found["redshift"], found["redshift_error"], strict=True)
    )
    console().print(f"lines: redshift {redshifts} ({found['quality']}); {found['components']}")
    console().print(f"detected: {escaped(', '.join(found['detected']) or 'none')}")
    for note in found["notes"]:
        console().print(f"note: {escaped(note)}")
    console().print(f"page: {escaped(home / found['page'])}")


with_options(lines, LinesConfig, "spectrum")
