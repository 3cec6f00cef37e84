"""Commands about catalogs: pieces of one galaxy grouped, released products brought in."""

from typing import Annotated, Any

import typer

from peculiar.cli.commands import QUARANTINED, AtlasArgument, NameOption, ReplaceOption, app, open_atlas, with_options
from peculiar.cli.console import console, escaped, print_rows
from peculiar.stages.derive import DeriveConfig
from peculiar.stages.group import GroupConfig
from peculiar.stages.import_release import ImportReleaseConfig


@app.command()
def group(
    atlas: AtlasArgument,
    radius: Annotated[
        float | None, typer.Option("--radius", help="arcsec from one piece to the next [8]", show_default=False)
    ] = None,
    name: NameOption = "main",
    replace: ReplaceOption = False,
    **given: Any,
) -> None:
    """Group objects that are pieces of one galaxy, by friends of friends on the sky.

    group_id, group_size, group_rank and is_representative stand in the ranking then; peculiar release ATLAS
    --one-a-group lists the first of each group. The same command does it anew when objects have come."""
    options = {key: value for key, value in given.items() if value is not None}
    run = open_atlas(atlas).group(radius, name=name, replace=replace, **options)
    found = run.outputs
    radius = run.config["radius_arcsec"]
    console().print(
        f"group: {found['n_grouped']:,} of {found['n_objects']:,} objects have another within {radius:g} arcsec, in "
        f"{found['n_groups']:,} groups, the largest of {found['largest']}; "
        f"listed one a group: {found['n_listed_one_a_group']:,}"
    )
    if found["n_without_position"]:
        console().print(f"{found['n_without_position']:,} objects without a position are in no group")


with_options(group, GroupConfig, "radius_arcsec")


@app.command()
def derive(atlas: AtlasArgument, name: NameOption = "main", replace: ReplaceOption = False, **given: Any) -> None:
    """Make sizes, shapes and colors from the survey's columns, and columns of your own from formulas.

    Known are the columns of Hyper Suprime-Cam and of the DESI Legacy Imaging Surveys: r_eff_paper, radius_major_arcsec,
    radius_circularized_arcsec, ellipticity, axis_ratio, position_angle, aperture_ratio, g_r, g_r_dereddened ... stand
    beside the survey's own then. peculiar run does it by itself.

    A formula has columns, numbers, + - * / % ** and the functions abs sqrt exp ln log10 sin cos degrees radians hypot
    min max angle; it has no value where a part of it has none."""
    options = {key: value for key, value in given.items() if value is not None}
    run = open_atlas(atlas).derive(name=name, replace=replace, **options)
    print_rows(["column", "is"], list(run.outputs["formulas"].items()), f"derive: {run.outputs['n_objects']:,} objects")


with_options(derive, DeriveConfig)


@app.command("import-release")
def import_release(
    atlas: AtlasArgument,
    name: NameOption = "released",
    replace: ReplaceOption = False,
    **given: Any,
) -> None:
    """Bring the released catalog of Storey-Fisher et al. 2021, or one like it, into an atlas; a pickle runs nothing.

    Without --images it is a table in catalogs/NAME: group it by peculiar group ATLAS --of catalogs/NAME. With them the
    images are the survey, and the released scores columns of it. idx becomes release_index; ids that are floats are
    refused."""
    opened = open_atlas(atlas)
    options = {key: value for key, value in given.items() if value is not None}
    if "catalog" not in options:
        raise FileNotFoundError(f"no catalog for {atlas}; say where the released one is with --catalog")
    run = opened.import_release(name=name, replace=replace, **options)
    console().print(
        f"import-release: {run.outputs['n_objects']:,} objects in catalogs/{name}; "
        f"columns: {escaped(', '.join(run.outputs['columns']))}"
    )
    if run.outputs["images"]:
        console().print(f"survey: {len(opened.survey):,} objects with images")
        if len(opened.quarantine):
            console().print(f"{len(opened.quarantine)} inputs are in quarantine; reasons: peculiar quarantine {atlas}")
            raise typer.Exit(QUARANTINED)


with_options(import_release, ImportReleaseConfig)
