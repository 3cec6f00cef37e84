"""Commands that follow an object up: target lists for the telescope, and lines of its spectrum."""

from typing import Any

from peculiar.cli.commands import AtlasArgument, NameOption, app, open_atlas, with_options
from peculiar.cli.console import console, escaped
from peculiar.stages.follow_up import FollowUpConfig


@app.command("follow-up")
def follow_up(atlas: AtlasArgument, name: NameOption = "main", **given: Any) -> None:
    """Make a target list for a telescope: finding charts, when they are up, and tables for observing tools.

    The first 20 by the order first shown, or those of a filter or a list of ids. With an observatory: each target's
    altitude over a night, and its dark hours over a season. Needs: pip install "peculiar[spectra]" for those."""
    opened = open_atlas(atlas)
    run = opened.follow_up(name=name, **{key: each for key, each in given.items() if each is not None})
    home = opened.folder / "follow-up" / name
    left_out = run.outputs["n_without_position"]
    said = f", {left_out} without a position left out" if left_out else ""
    console().print(f"follow-up: {run.outputs['n_objects']} targets{said}")
    console().print(f"page: {escaped(home / 'targets.html')}")


with_options(follow_up, FollowUpConfig)
