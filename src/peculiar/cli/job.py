"""Commands of the main job: run, its stages, and the made surveys to try it on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from peculiar.cli.commands import (
    PRESET,
    QUARANTINED,
    REPLACE,
    AtlasArgument,
    add_command,
    app,
    calls,
    named,
    open_atlas,
    presets_text,
    say_done,
    with_options,
)
from peculiar.cli.console import console, print_top, track
from peculiar.stages.ingest import IngestConfig
from peculiar.stages.rank import RankConfig
from peculiar.stages.release import ReleaseConfig
from peculiar.stages.score import ScoreConfig
from peculiar.stages.simulate import SimulateConfig
from peculiar.stages.train_encoder import PRESETS as ENCODER_PRESETS
from peculiar.stages.train_encoder import TrainEncoderConfig
from peculiar.stages.train_gan import PRESETS as GAN_PRESETS
from peculiar.stages.train_gan import TrainGanConfig

if TYPE_CHECKING:
    from peculiar.atlas import Atlas


def _ingest(atlas: "Atlas", **given: Any) -> None:
    run = atlas.ingest(**given)
    say_done(run, **{key: value for key, value in run.outputs.items() if key.startswith("n_")})
    _leave_if_quarantined(atlas, run.outputs["n_quarantined"])


def _leave_if_quarantined(atlas: "Atlas", n_quarantined: int) -> None:
    if n_quarantined:
        console().print(
            f"{n_quarantined} inputs are in quarantine, the rest is done; reasons: peculiar quarantine {atlas.folder}"
        )
        raise typer.Exit(QUARANTINED)


def _run(atlas: "Atlas", **given: Any) -> None:
    run = atlas.run(**given)
    n = min(10, run.outputs["n_objects"])
    print_top(atlas, n, atlas.ranking().first_shown)
    release = atlas.folder / "release" / "main"
    console().print(f"report: {release / 'report.html'}\ncatalog: {release / 'catalog.parquet'}")
    console().print(f"to look, select and label: peculiar explore {atlas.folder}")
    _leave_if_quarantined(atlas, run.outputs["n_quarantined"])


def _score(atlas: "Atlas", *, sweep_weight: str = "", sample: int = 2000, **given: Any) -> None:
    if sweep_weight:
        weights = tuple(float(each) for each in sweep_weight.split(","))
        run = atlas.sweep_weights(weights, sample=sample, name=given.get("name", "main"))
        console().print(f"sweep: {atlas.folder / run.outputs['page']}")
        return
    run = atlas.score(**given)
    say_done(run, objects=run.outputs["n_objects"])
    if given.get("name", "main") == "main":
        ranked = atlas.rank(replace=given.get("replace", False))
        say_done(ranked, objects=ranked.outputs["n_objects"], reference=ranked.outputs["reference"])


add_command(
    "run",
    IngestConfig,
    """Do the main job: ingest, train, score, rank and release.

    Say --images the first time; after a kill, the same command, or just "peculiar run ATLAS", goes on where it
    stopped. A catalog is joined by object_id or by file name.""",
    _run,
    (
        "preset",
        Annotated[
            Literal["auto", "paper", "small"] | None,
            typer.Option("--preset", help="size of the networks; auto picks by device and number of images [auto]"),
        ],
        None,
    ),
    ("seed", Annotated[int | None, typer.Option("--seed", help="seed of everything random [0]")], None),
    (
        "device",
        Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or mps [auto]")],
        None,
    ),
)
add_command(
    "ingest",
    IngestConfig,
    """Read images, and a catalog, into the survey, or append new ones.

    What cannot be read goes to quarantine with a reason; the rest goes on, and the exit code is 3.""",
    _ingest,
    REPLACE,
)
add_command(
    "train-gan",
    TrainGanConfig,
    "Train the generator and the critic, or go on." + presets_text(GAN_PRESETS),
    calls("train_gan", step="step", on="machine"),
    named("gan"),
    PRESET,
    REPLACE,
)
add_command(
    "train-encoder",
    TrainEncoderConfig,
    "Train the encoder that guesses latents, or go on." + presets_text(ENCODER_PRESETS),
    calls("train_encoder", step="step", on="machine"),
    named("encoder"),
    PRESET,
    REPLACE,
)
add_command(
    "score",
    ScoreConfig,
    """Find latents and score what is not scored yet, then rank it.

    Scores of other networks or weights need another --name, or --replace.""",
    _score,
    named("main"),
    REPLACE,
    (
        "sweep_weight",
        Annotated[
            str,
            typer.Option(
                "--sweep-weight",
                metavar="A,B,...",
                help="instead: score a sample anew at each of these reconstruction weights, and compare",
                show_default=False,
            ),
        ],
        "",
    ),
    ("sample", Annotated[int, typer.Option("--sample", help="objects of the sweep")], 2000),
)
add_command(
    "rank",
    RankConfig,
    """Compare scores with a frozen reference: sigma, robust sigma, percentile, and the conditional form.

    Another --combination-weight or --condition-on makes another ranking, under another --name; nothing is scored
    again.""",
    calls("rank", objects="n_objects", reference="reference"),
    named("main"),
    REPLACE,
)
add_command(
    "release",
    ReleaseConfig,
    """Write the catalog, the selection, the figures, the report, and a page that explains the files.""",
    calls("release", selected="n_selected", excluded="n_excluded", report="report"),
    named("main"),
    REPLACE,
)


@app.command("add-columns")
def add_columns(
    atlas: AtlasArgument,
    table: Annotated[Path, typer.Argument(help="CSV, FITS, VOTable, ECSV or Parquet")],
    id_column: Annotated[str, typer.Option(help="column of ids; empty: object_id", show_default=False)] = "",
    file_column: Annotated[str, typer.Option(help="column of file names; empty: file", show_default=False)] = "",
) -> None:
    """Join the columns of a table to the survey, by object_id or by file name."""
    run = open_atlas(atlas).add_columns(table, id_column=id_column, file_column=file_column)
    say_done(run, **run.outputs)


@app.command()
def simulate(
    output: Annotated[
        Path, typer.Argument(help="folder to make: cutouts/, objects.fits, truth.csv", show_default=False)
    ],
    **given: Any,
) -> None:
    """Make an HSC-like survey with planted oddities, to try things on; needs GalSim (pip install "peculiar[sim]")."""
    from peculiar.stages.simulate import simulate as make

    cutouts = make(
        SimulateConfig(output=output, **{key: each for key, each in given.items() if each is not None}), track
    )
    console().print(
        f"simulate: {cutouts} and {output / 'objects.fits'}; next: peculiar run my-atlas --images {cutouts} "
        f"--catalog {output / 'objects.fits'} --bands HSC-I,HSC-R,HSC-G"
    )


with_options(simulate, SimulateConfig, "output")
