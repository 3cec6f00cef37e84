"""Commands that say what scores, features and labels are worth, where the truth is known."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from peculiar.cli.commands import REPLACE, AtlasArgument, add_command, app, named, open_atlas, with_options
from peculiar.cli.console import console, print_rows
from peculiar.stages.bench import FEW, BenchConfig, interval_of
from peculiar.stages.inject import InjectConfig
from peculiar.stages.simulate_expert import SimulateExpertConfig

if TYPE_CHECKING:
    from peculiar.atlas import Atlas

SHOWN = ("auroc", "average_precision")
TruthOption = Annotated[
    Path, typer.Option("--truth", help="table of object_id and what it is, as simulate writes it", show_default=False)
]


@app.command()
def bench(
    atlas: AtlasArgument,
    truth: TruthOption,
    name: Annotated[str, typer.Option(help="name of the result's folder")] = "main",
    **given: Any,
) -> None:
    """Judge every score, feature set and model of interest against the truth, beside baselines without a network.

    The truth is a table of object_id and a column of classes, empty or "normal" where an object is nothing special."""
    told = {key: each for key, each in given.items() if each is not None}
    _say_judged(atlas, open_atlas(atlas).bench(truth, name=name, **told).outputs)


def _say_judged(folder: Path, judged: dict[str, Any]) -> None:
    for kind, by in judged["kinds"].items():
        rows = [[order, *(interval_of(metrics, each) for each in SHOWN)] for order, metrics in by.items()]
        print_rows(["order", "AUROC", "average precision"], rows, f"{kind}, of {judged['n_objects']:,} objects")
    counts = [[name, *each.values()] for name, each in judged["by_class"].items()]
    title = f"{judged['n_odd']} odd ones, by {judged['first_shown']}"
    print_rows(["class", "kind", "there", "in the top 1 %", "in the top 5 %"], counts, title)
    if judged["n_odd"] < FEW:
        console(is_error=False).print("Few are odd: this is an example, not a measurement.")
    console().print(f"page: {folder / judged['page']}")


with_options(bench, BenchConfig, "truth")


@app.command("simulate-expert")
def simulate_expert(
    atlas: AtlasArgument,
    truth: Annotated[Path, typer.Argument(help="table of object_id and what it is, as simulate writes it")],
    name: Annotated[str, typer.Option(help="name of the result's folder")] = "main",
    **given: Any,
) -> None:
    """Let a made expert label by the truth, batch after batch: how many are found, against orders without labels."""
    run = open_atlas(atlas).simulate_expert(
        truth, name=name, **{key: each for key, each in given.items() if each is not None}
    )
    title = f"{run.outputs['n_interesting']} of interest among {run.outputs['n_objects']:,}; found among the first"
    print_rows(["order", *run.outputs["looked_at"]], run.outputs["found"], title)
    console().print(f"figure: {atlas / run.outputs['figure']}")


with_options(simulate_expert, SimulateExpertConfig, "truth")


def _inject(atlas: "Atlas", **given: Any) -> None:
    judged = atlas.inject(**given).outputs
    _say_judged(atlas.folder / judged["atlas"], judged)
    console().print(f"examples: {(atlas.folder / judged['atlas']).parent / 'examples.png'}")


add_command(
    "inject",
    InjectConfig,
    """Plant oddities in copies of the survey's own images, score them by the networks there are, and say which are
    found: the survey's selection function. Needs GalSim (pip install "peculiar[sim]").

    What is made is an atlas of its own, injections/NAME/atlas, with truth.csv beside it; the survey stays as it is.""",
    _inject,
    named("main"),
    REPLACE,
)
