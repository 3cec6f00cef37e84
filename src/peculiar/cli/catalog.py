"""Commands about catalogs: pieces of one galaxy grouped, released products brought in."""

from pathlib import Path
from typing import Annotated, Any

import typer

from peculiar.cli.commands import QUARANTINED, AtlasArgument, NameOption, ReplaceOption, app, open_atlas, with_options
from peculiar.cli.console import console, escaped
from peculiar.stages.bundle import BundleConfig
from peculiar.stages.classify import ClassifyConfig
from peculiar.stages.crossmatch import CrossmatchConfig
from peculiar.stages.derive import DeriveConfig
from peculiar.stages.export import ExportConfig
from peculiar.stages.group import GroupConfig
from peculiar.stages.import_release import ImportReleaseConfig
from peculiar.stages.mask import MaskConfig
from peculiar.stages.subset import SubsetConfig


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
    console().print(f"derive: {run.outputs['n_objects']:,} objects")
    for column, formula in run.outputs["formulas"].items():
        without = run.outputs["n_without"][column]
        console().print(f"{column} = {escaped(formula)}" + (f"   ({without:,} without a value)" if without else ""))


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


@app.command()
def crossmatch(
    atlas: AtlasArgument,
    name: Annotated[
        str, typer.Option("--name", help="the folder's, which its columns begin with; empty: the table's or service's")
    ] = "",
    replace: ReplaceOption = False,
    **given: Any,
) -> None:
    """Find counterparts by position: in a table, another atlas, or SIMBAD, NED and VizieR.

    For the nearest within the radius: NAME_n_within, NAME_separation_arcsec, NAME_is_mutual and the --columns asked
    for; from a service NAME_known_as, NAME_known_type and is_known_NAME. Positions are ICRS or FK5 J2000, degrees. How
    many match by chance is measured at places beside the objects: separations.png. A service is asked politely and
    its answers are kept: interrupted, the same command goes on. Tested against a server on loopback only.

    SIMBAD and VizieR need: pip install "peculiar[catalog]"."""
    options = {key: value for key, value in given.items() if value is not None}
    run = open_atlas(atlas).crossmatch(name=name, replace=replace, **options)
    found, radius = run.outputs, run.config["radius_arcsec"]
    console().print(
        f"crossmatch: {found['n_matched']:,} of {found['n_asked']:,} objects have a counterpart within {radius:g} "
        f"arcsec, {found['n_with_several']:,} of them several; {found['n_mutual']:,} are the nearest of theirs too"
    )
    if found["n_false"] is not None:
        console().print(
            f"by chance: {100 * found['chance_fraction']:.2g} +- {100 * found['chance_fraction_error']:.1g} % of "
            f"places beside the objects have one too; {found['n_false']:,.0f} of the matched are expected to be false"
        )
    if found["n_without_position"]:
        console().print(f"{found['n_without_position']:,} objects without a position: not known")


with_options(crossmatch, CrossmatchConfig)


@app.command()
def subset(
    atlas: AtlasArgument,
    new: Annotated[Path, typer.Argument(metavar="NEW", help="the new atlas's folder", show_default=False)],
    **given: Any,
) -> None:
    """Make a new atlas of some of the objects, which shares the images of this one: no pixel is copied.

    All conditions hold; --top or --random takes of those that pass. Scores, features, rankings, networks and labels
    come along. Either atlas may grow, move or go without the other."""
    options = {key: value for key, value in given.items() if value is not None}
    told = open_atlas(atlas).subset(new, **options).outputs
    how = "" if told["images"] == "shared" else "; images were copied, as files on another disk cannot be shared"
    console().print(f"subset: {told['n_objects']:,} of {told['n_of']:,} objects in {escaped(new)}{how}")
    if told["n_label_events"]:
        console().print(f"labels and their history: {told['n_label_events']:,} events")
    if told["left_out"]:
        console().print(f"left out, to be made anew: {escaped(', '.join(told['left_out']))}")


with_options(subset, SubsetConfig)


@app.command()
def export(atlas: AtlasArgument, name: NameOption = "main", replace: ReplaceOption = False, **given: Any) -> None:
    """Write a ranking, the survey or an imported catalog for others: Parquet, FITS, VOTable, CSV, and HATS for LSDB.

    Beside the files in products/NAME: index.html says what each is, its columns, how to read and cite it;
    croissant.json says it to machines; sha256sum -c SHA256SUMS checks them. Everything is written anew each time."""
    options = {key: value for key, value in given.items() if value is not None}
    run = open_atlas(atlas).export(name=name, replace=replace, **options)
    files = ", ".join(run.outputs["files"].values())
    console().print(f"export: {run.outputs['n_objects']:,} objects in products/{name}: {escaped(files)}")
    for form, why in run.outputs["not_written"].items():
        console().print(f"not written as {form}: {escaped(why)}")
    if run.outputs["n_not_in_hats"]:
        console().print(f"{run.outputs['n_not_in_hats']:,} objects without a position are not in HATS")
    console().print(f"page: {escaped(atlas / run.outputs['page'])}")


with_options(export, ExportConfig)


@app.command()
def mask(atlas: AtlasArgument, name: NameOption = "main", replace: ReplaceOption = False, **given: Any) -> None:
    """Say which objects are inside masks, of bright stars as a rule: columns of flags, region files, MOCs.

    is_masked and n_masks are columns then: peculiar top ATLAS --where "is_masked = 0". mask.html tells the fraction
    inside, of all and by sample, with intervals. The same command reads the files anew. Region files beyond plain
    DS9 lines, and MOCs, need the extra: pip install "peculiar[catalog]"."""
    options = {key: value for key, value in given.items() if value is not None}
    found = open_atlas(atlas).mask(name=name, replace=replace, **options).outputs
    for sample, each in found["fractions"].items():
        if each["n"]:
            console().print(
                f"{escaped(sample)}: {each['n_inside']:,} of {each['n']:,} inside, {100 * each['fraction']:.1f} % "
                f"({100 * each['low']:.1f} to {100 * each['high']:.1f})"
            )
    if found["n_without_position"]:
        console().print(f"{found['n_without_position']:,} objects without a position: not known")
    console().print(f"page: {escaped(atlas / 'masks' / name / 'mask.html')}")


with_options(mask, MaskConfig)


@app.command()
def bundle(atlas: AtlasArgument, name: NameOption = "main", replace: ReplaceOption = False, **given: Any) -> None:
    """Make a bundle for citizen science: the most anomalous mixed with others, enlarged, with manifests for Zooniverse.

    bundles/NAME/README.md says how to upload it and what to ask; key.csv, which stays at home, says which were chosen
    by score. Interrupted, the same command goes on. Then: peculiar import-classifications ATLAS FILE --bundle NAME."""
    options = {key: value for key, value in given.items() if value is not None}
    found = open_atlas(atlas).bundle(name=name, replace=replace, **options).outputs
    console().print(
        f"bundle: {found['n_first']:,} first by {found['by']} and {found['n_control']:,} at random, in "
        f"{found['n_parts']} folders of {escaped(atlas / 'bundles' / name)}, {found['n_bytes'] / 1e6:,.0f} MB"
    )
    console().print(f"page: {escaped(atlas / found['page'])}")


with_options(bundle, BundleConfig)


@app.command("import-classifications")
def import_classifications(
    atlas: AtlasArgument,
    table: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Zooniverse's classification export, or a table of object_id, label and perhaps user",
            show_default=False,
        ),
    ],
    name: NameOption = "main",
    replace: ReplaceOption = False,
    **given: Any,
) -> None:
    """Bring the votes of a citizen-science project back: how many found each object interesting.

    classification_interesting and its bounds stand in the ranking then; of several answers of one user the first is
    counted. The same command with a newer export counts anew. classifications/NAME/failures.csv says what was not
    counted, and why."""
    options = {key: value for key, value in given.items() if value is not None}
    found = open_atlas(atlas).import_classifications(table, name=name, replace=replace, **options).outputs
    console().print(
        f"import-classifications: {found['n_votes']:,} votes of {found['n_users']:,} users on {found['n_objects']:,} "
        f"objects, {found['n_interesting']:,} for interesting"
    )
    told = {
        "n_repeated": "said before by the same user",
        "n_failed": "not counted: failures.csv",
        "n_recovered": "ids had been rounded, and were read from names",
    }
    for key, text in told.items():
        if found[key]:
            console().print(f"{found[key]:,} {text}")
    console().print(f"page: {escaped(atlas / found['page'])}")


with_options(import_classifications, ClassifyConfig, "table")
