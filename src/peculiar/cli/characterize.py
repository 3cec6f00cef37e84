"""Commands that turn a list of high scores into kinds of things."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from peculiar.cli.commands import (
    PRESET,
    REPLACE,
    AtlasArgument,
    add_command,
    app,
    calls,
    named,
    open_atlas,
    presets_text,
    say_done,
)
from peculiar.cli.console import console, print_table
from peculiar.stages.cluster import ClusterConfig
from peculiar.stages.compare import CompareConfig
from peculiar.stages.features import FeaturesConfig
from peculiar.stages.forest import ForestConfig
from peculiar.stages.index import IndexConfig
from peculiar.stages.join import JoinConfig
from peculiar.stages.learn import LearnConfig
from peculiar.stages.map import MapConfig
from peculiar.stages.neighbors import NeighborsConfig
from peculiar.stages.portray import PortrayConfig
from peculiar.stages.relate import RelateConfig
from peculiar.stages.train_autoencoder import PRESETS as AUTOENCODER_PRESETS
from peculiar.stages.train_autoencoder import TrainAutoencoderConfig
from peculiar.stages.train_detector import PRESETS as DETECTOR_PRESETS
from peculiar.stages.train_detector import TrainDetectorConfig
from peculiar.stages.train_features import PRESETS as FEATURES_PRESETS
from peculiar.stages.train_features import TrainFeaturesConfig

if TYPE_CHECKING:
    from peculiar.atlas import Atlas

NAME = named("residual")


@app.command()
def characterize(
    atlas: AtlasArgument,
    preset: Annotated[
        Literal["auto", "paper", "small"] | None,
        typer.Option(help="size of the autoencoders; auto picks by device and number of images [auto]"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="seed of everything random [0]", show_default=False)] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps [auto]", show_default=False)] = None,
    replace: Annotated[bool, typer.Option("--replace", help="make all of it anew, after scores were replaced")] = False,
) -> None:
    """Turn the ranking into kinds of things: autoencoders, features, a forest, maps, and a page of pictures.

    Interrupted, the same command goes on where it stopped. Then: peculiar similar ATLAS OBJECT, peculiar card ATLAS
    OBJECT, peculiar top ATLAS --by score_forest_residual_conditional."""
    run = open_atlas(atlas).characterize(preset=preset, seed=seed, device=device, replace=replace)
    console().print(f"page: {atlas / run.outputs['page']}")


def _with_scores(method: str, parent: str) -> Any:
    """Fill a table with scores, and give them their relative forms."""

    def act(atlas: "Atlas", *, name: str, **given: Any) -> None:
        run = getattr(atlas, method)(name, **given)
        say_done(run, objects=run.outputs["n_objects"])
        if any(each.startswith("score_") for each in _columns(atlas, f"{parent}/{name}")):
            related = atlas.relate(f"{parent}/{name}", replace=given.get("replace", False))
            say_done(related, objects=related.outputs["n_objects"], reference=related.outputs["reference"])

    return act


def _columns(atlas: "Atlas", place: str) -> list[str]:
    from peculiar.survey import Table

    names: list[str] = Table(atlas.folder / place / "table.lance").schema.names
    return names


add_command(
    "train-autoencoder",
    TrainAutoencoderConfig,
    """Train the autoencoder of residuals, or of images (--of image), or go on.

    Its features say what kind of thing a high score is."""
    + presets_text(AUTOENCODER_PRESETS),
    calls("train_autoencoder", step="step", on="machine"),
    ("name", Annotated[str | None, typer.Option("--name", help="name of its folder [autoencoder-OF]")], None),
    PRESET,
    REPLACE,
)
add_command(
    "train-features",
    TrainFeaturesConfig,
    """Train self-supervised features on the survey's own images, or go on.

    Two views of a galaxy, turned, zoomed and made noisy, are to be told from all others (SimCLR)."""
    + presets_text(FEATURES_PRESETS),
    calls("train_features", step="step", on="machine"),
    named("self-supervised"),
    PRESET,
    REPLACE,
)
add_command(
    "train-detector",
    TrainDetectorConfig,
    """Train the detector of foreign light on the survey's own images, or go on.

    Light of random shape and color is planted in them; where, is to be found. What is found in images as they are is
    light that is not of the survey's kind. `peculiar features --name detector` makes its score."""
    + presets_text(DETECTOR_PRESETS),
    calls("train_detector", step="step", on="machine"),
    named("detector"),
    PRESET,
    REPLACE,
)
add_command(
    "features",
    FeaturesConfig,
    """Make a named vector of every object: --name self-supervised by the network of train-features, detector by that of
    train-detector, residual or image by the autoencoder of that name, critic by the critic, any other from a --table of
    your own (--source table) or by a pretrained --model (--source pretrained).

    An autoencoder's or a detector's score stands in every ranking then, as score_autoencoder_NAME or
    score_foreign_NAME.""",
    _with_scores("make_features", "features"),
    NAME,
    REPLACE,
)
add_command(
    "forest",
    ForestConfig,
    """Grow an extended isolation forest on a feature set, and score every object.

    The score stands in every ranking then, as score_forest_NAME.""",
    _with_scores("grow_forest", "forests"),
    NAME,
    REPLACE,
)
add_command(
    "neighbors",
    NeighborsConfig,
    """Score every object by its mean distance to the nearest in a feature set.

    --name frame and --name center are those looks of the self-supervised features; join needs both.
    The score stands in every ranking then, as score_neighbors_NAME.""",
    _with_scores("measure_neighbors", "neighbors"),
    named("self-supervised"),
    REPLACE,
)
add_command(
    "join",
    JoinConfig,
    """Join scores, neighbor distances of frame and center and the detector's score into score_joint, shown first.""",
    calls("join", objects="n_objects", reference="reference"),
    named("joint"),
    REPLACE,
)
add_command(
    "learn",
    LearnConfig,
    """Learn from labels what is of interest, predict it for every object, and say which to look at next.

    The labels are those said in the explorer (peculiar explore, peculiar labels); or --labels is a table of object_id
    and label, or grade, as CSV say, given again with more rows after each batch.
    Interest stands in every ranking then: peculiar top ATLAS --by interest.""",
    lambda atlas, **given: _say_learnt(atlas, atlas.learn(**given)),
    named("main"),
    REPLACE,
)


def _say_learnt(atlas: "Atlas", run: Any) -> None:
    say_done(run, **{key: run.outputs[key] for key in ("n_objects", "n_labelled", "n_found")})
    left = run.outputs["still_to_find"]
    console().print(
        f"still to be found, by the random part: {left['mean']:,.0f} (95 %: {left['low']:,.0f} to {left['high']:,.0f})"
    )
    console().print("next to look at:")
    for object_id in run.outputs["next"]:
        console(is_error=False).print(object_id)


add_command(
    "relate",
    RelateConfig,
    """Compare the scores of a table of features or of a forest with a frozen reference, as rank does.

    features, forest and neighbors do it by themselves; this is for other covariates (--condition-on).""",
    lambda atlas, of="", **given: say_done(run := atlas.relate(of, **given), objects=run.outputs["n_objects"]),
    ("name", Annotated[str | None, typer.Option("--name", help="name of the result's folder [after the table]")], None),
    REPLACE,
)
add_command(
    "map",
    MapConfig,
    """Lay objects out in two dimensions, alike beside alike: a feature set, pixels or residual-pixels.

    Without --of the map is of the feature set of its --name. New objects are placed and move nothing.""",
    calls("make_map", objects="n_objects"),
    NAME,
    REPLACE,
)


add_command(
    "index",
    IndexConfig,
    """Index a feature set for similar: needed from a million objects on, exact search is quicker below.""",
    lambda atlas, features="residual", **given: say_done(run := atlas.build_index(features, **given), **run.outputs),
    REPLACE,
)


@app.command()
def similar(
    atlas: AtlasArgument,
    objects: Annotated[
        list[str] | None,
        typer.Argument(metavar="OBJECT...", help="object_id or source, negative after --; several: a group"),
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="instead: a file, or a folder, of images from outside the survey")
    ] = None,
    fit: Annotated[
        Literal["", "exact", "crop", "pad", "resample"],
        typer.Option(help="what to do with an image of another size; empty: as with the survey's own"),
    ] = "",
    n: Annotated[int, typer.Option("-n", help="how many")] = 24,
    features: Annotated[
        str, typer.Option(help="name of the feature set; empty: self-supervised, residual, or the only one")
    ] = "",
    farthest: Annotated[bool, typer.Option("--farthest", help="the least similar instead")] = False,
    figure: Annotated[bool, typer.Option("--figure", help="make the picture too, in figures/")] = False,
) -> None:
    """Show the objects most similar to one object, to a group, or to an --image from outside; --farthest: the least."""
    opened = open_atlas(atlas)
    found = opened.similar(objects or None, n, images=image, fit=fit, features=features, is_farthest=farthest)
    features, named = found.meta["features"], objects or [str(image)]
    kind = "least" if farthest else "most"
    print_table(found, f"{kind} similar to {', '.join(named[:3])}{' ...' if len(named) > 3 else ''} in {features}")
    if figure:
        outside = None if image is None else opened.outside_images(image, fit=fit)
        path = _draw_similar(opened, objects or [], image, outside, found, kind)
        console().print(f"figure: {path}")


def _draw_similar(opened: "Atlas", objects: list[str], image: Path | None, outside: Any, found: Any, kind: str) -> Path:
    """The objects or images asked for, and what was found."""
    import numpy as np

    from peculiar.figures import figure_images
    from peculiar.run import save_figure

    if image is None:
        ids = opened.object_ids(objects)
        asked = opened.images(ids)
        others = f"-and-{len(ids) - 1}-{sum(map(int, ids)) % 10**6:06d}" if len(ids) > 1 else ""
        name, what = f"{ids[0]}{others}", "the object" if len(ids) == 1 else f"the {len(ids)} objects"
    else:
        asked = outside
        name, what = image.stem, "the image" if len(asked) == 1 else f"the {len(asked)} images"
    folder = opened.folder / "figures"
    folder.mkdir(exist_ok=True)
    of = f"{found.meta['features']}-{len(found)}{'-farthest' if kind == 'least' else ''}"
    path = folder / f"similar-{re.sub('[^A-Za-z0-9_-]', '_', name)}-{of}.png"
    images = np.concatenate([asked, opened.images(found["object_id"])])
    save_figure(figure_images(images, heading=f"{what} asked for, and the {kind} similar"), path)
    return path


add_command(
    "cluster",
    ClusterConfig,
    """Find clusters in a feature set or map, with a card for each: typical images, and what sets it apart.

    Each object gets a hint too, whether it looks like an artefact; a hint is no finding.""",
    lambda atlas, of=None, **given: _say_clusters(atlas, atlas.cluster(of, **given)),
    ("name", Annotated[str | None, typer.Option("--name", help="name of the result's folder [after OF]")], None),
    REPLACE,
)


def _say_clusters(atlas: "Atlas", run: Any) -> None:
    say_done(run, **{key: run.outputs[key] for key in ("n_clusters", "n_objects")})
    console().print(f"page: {atlas.folder / run.outputs['page']}")


@app.command()
def card(
    atlas: AtlasArgument,
    name: Annotated[str, typer.Argument(metavar="OBJECT", help="object_id or source")],
    features: Annotated[str, typer.Option(help="feature set of the neighbors; empty: the only one, or residual")] = "",
    map_name: Annotated[str, typer.Option("--map", help="map to show it on; empty: the only one, or residual")] = "",
) -> None:
    """Gather the evidence on one object: images, where its score arises, neighbors, place on the map, catalog row."""
    opened = open_atlas(atlas)
    console().print(f"card: {opened.card(name, features=features, map=map_name)}")


add_command(
    "portray",
    PortrayConfig,
    """Draw what characterizing found: maps, galleries, histograms, what the autoencoders keep; one page of all.""",
    lambda atlas, **given: console().print(f"page: {atlas.folder / atlas.portray(**given).outputs['page']}"),
)


def _compare(atlas: "Atlas", **given: Any) -> None:
    run = atlas.compare(**given)
    say_done(run, **run.outputs["samples"])
    console().print(f"page: {atlas.folder / 'comparisons' / given.get('name', 'main') / 'compare.html'}")


add_command(
    "compare",
    CompareConfig,
    """Compare samples with all other objects: magnitudes, sizes, any columns; and say what scores rank.

    A score that size and magnitude explain finds big bright galaxies. Samples are filters, such as
    --samples "odd: score_disc_sigma > 3; bright: magnitude < 19".""",
    _compare,
    named("main"),
)
