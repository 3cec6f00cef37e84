"""The command line: options only. Every command is a method of `Atlas`, and its options a stage's config."""

import dataclasses
import inspect
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from peculiar import __version__
from peculiar.ranking import FIRST_SHOWN
from peculiar.stages.ingest import IngestConfig
from peculiar.stages.rank import RankConfig
from peculiar.stages.recover import RecoverConfig
from peculiar.stages.release import ReleaseConfig
from peculiar.stages.score import ScoreConfig
from peculiar.stages.simulate import SimulateConfig
from peculiar.stages.train_encoder import PRESETS as ENCODER_PRESETS
from peculiar.stages.train_encoder import TrainEncoderConfig
from peculiar.stages.train_gan import PRESETS as GAN_PRESETS
from peculiar.stages.train_gan import TrainGanConfig

if TYPE_CHECKING:
    from peculiar.atlas import Atlas

FAILED, QUARANTINED = 1, 3  # exit codes; 2 is Typer's, for wrong options
EXPECTED_ERRORS = (ValueError, FileNotFoundError, KeyError, TypeError, ArithmeticError, ImportError, OSError)

app = typer.Typer(
    name="peculiar",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: no option name is cut, and rich need not be loaded
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Find the peculiar galaxies in an imaging survey.

    The main job, in one command: peculiar run my-atlas --images cutouts/

    Then look: peculiar top my-atlas --figure. Interrupted, the same command goes on where it stopped.
    Exit codes: 0 done, 1 failed, 2 wrong options, 3 done with inputs in quarantine.""",
)
AtlasArgument = Annotated[Path, typer.Argument(metavar="ATLAS", help="the atlas's folder", show_default=False)]
NameOption = Annotated[str, typer.Option("--name", help="name of the result's folder")]
ReplaceOption = Annotated[bool, typer.Option("--replace", help="throw away what the folder holds, and start over")]
PresetOption = Annotated[
    Literal["auto", "paper", "small"] | None,
    typer.Option("--preset", help="auto picks by device and number of images [auto]"),
]


def main() -> None:
    """Run the command line; expected errors become one sentence and exit code 1."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[_LogHandler()])
    logging.getLogger("peculiar").setLevel(logging.INFO)
    logging.getLogger().setLevel(logging.WARNING)
    try:
        app()
    except EXPECTED_ERRORS as error:
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        _console().print(f"[bold red]error:[/] {_escaped(text)}")
        sys.exit(FAILED)
    except KeyboardInterrupt:
        _console().print("interrupted; the same command goes on where it stopped")
        sys.exit(130)


def _escaped(text: object) -> str:
    from rich.markup import escape

    return escape(str(text))


def _console(*, is_error: bool = True) -> Any:
    from rich.console import Console

    return Console(stderr=is_error, highlight=False, soft_wrap=True)


class _LogHandler(logging.Handler):
    """Log lines on standard error, above the progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        console = _bars.console if _bars is not None else _console()
        console.print(_escaped(self.format(record)), soft_wrap=True)


_bars: Any = None


@contextmanager
def _track(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar with rate and time left; plain lines where there is no terminal."""
    global _bars
    from rich import progress

    class Rate(progress.ProgressColumn):
        """Objects or steps a second."""

        def render(self, task: Any) -> str:
            return f"{task.speed:,.1f}/s" if task.speed else ""

    console = _console()
    columns = [
        progress.TextColumn("{task.description:<34}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        Rate(),
        progress.TimeRemainingColumn(elapsed_when_finished=True),
    ]
    with progress.Progress(
        *columns, console=console, disable=not console.is_terminal, speed_estimate_period=60
    ) as bars:
        _bars = bars
        task = bars.add_task(description, total=total)
        lines = None if console.is_terminal else _Lines(description, total)
        try:
            yield lambda n: bars.advance(task, n) if lines is None else lines.advance(n)
        finally:
            _bars = None


class _Lines:
    """Progress for a log file: a line every so often."""

    EVERY = 20.0  # seconds

    def __init__(self, description: str, total: int | None) -> None:
        import time

        self.description, self.total, self.done, self.clock = description, total, 0, time.monotonic
        self.begun = self.last = self.clock()
        self.first: int | None = None

    def advance(self, n: int) -> None:
        """Count, and print if it is time."""
        self.done += n
        if self.first is None:
            self.first = self.done  # what an earlier run did is no part of the rate
        now = self.clock()
        if now - self.last >= self.EVERY:
            self.last = now
            rate = (self.done - self.first) / (now - self.begun)
            left = f", {(self.total - self.done) / rate:,.0f} s left" if self.total and rate else ""
            of = f" of {self.total:,}" if self.total else ""
            _console().print(f"{self.description}: {self.done:,}{of}, {rate:,.1f}/s{left}")


def _atlas(folder: Path) -> "Atlas":
    from peculiar.atlas import Atlas

    return Atlas(folder, track=_track)


# Options from config dataclasses: name, type, help and default are the field's.

_SHORT = {"--catalog": ("--catalogue",)}


def _options(config: type, but_not: tuple[str, ...] = ()) -> list[inspect.Parameter]:
    """A Typer option of every field, None where it is not given, so that a recorded config is not overridden."""
    hints = get_type_hints(config, include_extras=True)
    parameters = []
    for field in dataclasses.fields(config):
        if field.name in but_not:
            continue
        kind, text = get_args(hints[field.name])[:2]
        kind, parser = _cli_type(kind)
        flag = "--" + field.name.removeprefix("is_").replace("_", "-")
        names = [f"{flag}/--no-{flag[2:]}"] if kind is bool else [flag, *_SHORT.get(flag, ())]
        default = field.default
        option = typer.Option(
            *names, help=text + _shown(default), show_default=False, parser=parser, metavar=_metavar(parser)
        )
        annotation = Annotated[kind | None, option]  # type: ignore[valid-type]
        parameters.append(
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        )
    return parameters


def _cli_type(kind: Any) -> tuple[Any, Callable[[str], Any] | None]:
    """What Typer makes of a field's type; tuples are comma-separated."""
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        return tuple, lambda text: tuple(item(part.strip()) for part in str(text).split(",") if part.strip())
    if isinstance(kind, UnionType):
        kind = next(each for each in get_args(kind) if each is not type(None))
    return kind, None


def _metavar(parser: Callable[[str], Any] | None) -> str | None:
    return None if parser is None else "A,B,..."


def _shown(default: Any) -> str:
    """The default as help shows it; nothing where it is empty."""
    if default is None or default is dataclasses.MISSING or default in ((), "", Path()) or default is False:
        return ""
    return f" [{','.join(f'{each:g}' for each in default) if isinstance(default, tuple) else default}]"


def _command(name: str, config: type, text: str, act: Callable[..., Any], *extra: tuple[str, Any, Any]) -> None:
    """Register a command whose options are a config's fields, and `extra` ones (name, annotation, default)."""

    def command(atlas: Path, **given: Any) -> None:
        act(_atlas(atlas), **{key: value for key, value in given.items() if value is not None})

    atlas = inspect.Parameter("atlas", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=AtlasArgument)
    others = [
        inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for key, annotation, default in extra
    ]
    parameters = [atlas, *_options(config), *others]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    app.command(name, help=text)(command)


def _done(run: Any, **shown: Any) -> None:
    """Say what a stage did, and leave with code 3 where inputs are in quarantine."""
    parts = [f"{key.removeprefix('n_').replace('_', ' ')} {value}" for key, value in shown.items()]
    _console().print(f"{run.stage}: " + (", ".join(parts) or "complete"))


def _ingest(atlas: "Atlas", **given: Any) -> None:
    run = atlas.ingest(**given)
    _done(run, **{key: value for key, value in run.outputs.items() if key.startswith("n_")})
    _leave_if_quarantined(atlas, run.outputs["n_quarantined"])


def _leave_if_quarantined(atlas: "Atlas", n_quarantined: int) -> None:
    if n_quarantined:
        _console().print(
            f"{n_quarantined} inputs are in quarantine, the rest is done; reasons: peculiar quarantine {atlas.folder}"
        )
        raise typer.Exit(QUARANTINED)


def _run(atlas: "Atlas", **given: Any) -> None:
    run = atlas.run(**given)
    n = min(10, run.outputs["n_objects"])
    _print_top(atlas, n, FIRST_SHOWN)
    release = atlas.folder / "release" / "main"
    _console().print(f"report: {release / 'report.html'}\ncatalog: {release / 'catalog.parquet'}")
    _leave_if_quarantined(atlas, run.outputs["n_quarantined"])


def _simple(method: str, **kept: str) -> Callable[..., None]:
    """A command that calls an Atlas method and shows some of what it put out."""

    def act(atlas: "Atlas", **given: Any) -> None:
        run = getattr(atlas, method)(**given)
        _done(run, **{label: run.outputs.get(key) for label, key in kept.items()})

    return act


def _score(atlas: "Atlas", *, sweep_weight: str = "", sample: int = 2000, **given: Any) -> None:
    if sweep_weight:
        weights = tuple(float(each) for each in sweep_weight.split(","))
        run = atlas.sweep_weights(weights, sample=sample, name=given.get("name", "main"))
        _console().print(f"sweep: {atlas.folder / run.outputs['page']}")
        return
    run = atlas.score(**given)
    _done(run, objects=run.outputs["n_objects"])
    if given.get("name", "main") == "main":
        ranked = atlas.rank(replace=given.get("replace", False))
        _done(ranked, objects=ranked.outputs["n_objects"], reference=ranked.outputs["reference"])


_NAMED = {
    stage: ("name", NameOption, default) for stage, default in (("gan", "gan"), ("encoder", "encoder"), ("", "main"))
}
_REPLACE = ("replace", ReplaceOption, False)
_PRESET = ("preset", PresetOption, None)


def _presets(presets: dict[str, Any]) -> str:
    """What the presets are, for help: the fields in which they differ."""
    first = next(iter(presets.values()))
    names = [each.name for each in dataclasses.fields(first)]
    differing = [name for name in names if len({repr(getattr(each, name)) for each in presets.values()}) > 1]
    lines = (
        f"{key}: " + ", ".join(f"{name} {getattr(each, name)}" for name in differing) for key, each in presets.items()
    )
    return "\n\nPresets. " + "; ".join(lines) + "."


_command(
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
_command(
    "ingest",
    IngestConfig,
    """Read images, and a catalog, into the survey, or append new ones.

    What cannot be read goes to quarantine with a reason; the rest goes on, and the exit code is 3.""",
    _ingest,
    _REPLACE,
)
_command(
    "train-gan",
    TrainGanConfig,
    "Train the generator and the critic, or go on." + _presets(GAN_PRESETS),
    _simple("train_gan", step="step", on="machine"),
    _NAMED["gan"],
    _PRESET,
    _REPLACE,
)
_command(
    "train-encoder",
    TrainEncoderConfig,
    "Train the encoder that guesses latents, or go on." + _presets(ENCODER_PRESETS),
    _simple("train_encoder", step="step", on="machine"),
    _NAMED["encoder"],
    _PRESET,
    _REPLACE,
)
_command(
    "score",
    ScoreConfig,
    """Find latents and score what is not scored yet, then rank it.

    Scores of other networks or weights need another --name, or --replace.""",
    _score,
    _NAMED[""],
    _REPLACE,
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
_command(
    "rank",
    RankConfig,
    """Compare scores with a frozen reference: sigma, robust sigma, percentile, and the conditional form.

    Another --combination-weight or --condition-on makes another ranking, under another --name; nothing is scored
    again.""",
    _simple("rank", objects="n_objects", reference="reference"),
    _NAMED[""],
    _REPLACE,
)
_command(
    "release",
    ReleaseConfig,
    """Write the catalog, the selection, the figures and the report.""",
    _simple("release", selected="n_selected", report="report"),
    _NAMED[""],
    _REPLACE,
)


@app.command("add-columns")
def add_columns(
    atlas: AtlasArgument,
    table: Annotated[Path, typer.Argument(help="CSV, FITS, VOTable, ECSV or Parquet")],
    id_column: Annotated[str, typer.Option(help="column of ids; empty: object_id", show_default=False)] = "",
    file_column: Annotated[str, typer.Option(help="column of file names; empty: file", show_default=False)] = "",
) -> None:
    """Join the columns of a table to the survey, by object_id or by file name."""
    run = _atlas(atlas).add_columns(table, id_column=id_column, file_column=file_column)
    _done(run, **run.outputs)


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
        SimulateConfig(output=output, **{key: each for key, each in given.items() if each is not None}), _track
    )
    _console().print(
        f"simulate: {cutouts} and {output / 'objects.fits'}; next: peculiar run my-atlas --images {cutouts} "
        f"--catalog {output / 'objects.fits'} --bands HSC-I,HSC-R,HSC-G"
    )


@app.command()
def recover(
    atlas: AtlasArgument,
    truth: Annotated[Path, typer.Argument(help="table of what was planted, as simulate writes it", show_default=False)],
    **given: Any,
) -> None:
    """Show how many planted oddities the atlas found, by class, against baselines without a network."""
    from rich.table import Table

    from peculiar.stages.recover import recover as judge

    run = judge(
        atlas,
        RecoverConfig(truth=truth, **{key: each for key, each in given.items() if each is not None}),
        replace=True,
        track=_track,
    )
    n_planted, n_objects = run.outputs["n_planted"], run.outputs["n_objects"]
    shown = Table(
        "class",
        "kind",
        "planted",
        "in the top 1 %",
        "in the top 5 %",
        title=f"{n_planted} planted in {n_objects:,}, ordered by {FIRST_SHOWN}",
        title_justify="left",
    )
    for name, counts in run.outputs["by_class"].items():
        shown.add_row(name, *map(str, counts.values()))
    totals = [
        sum(each[key] for each in run.outputs["by_class"].values())
        for key in ("planted", "top_1_percent", "top_5_percent")
    ]
    shown.add_row("all", "", *map(str, totals), style="bold")
    _console(is_error=False).print(shown)
    if n_planted < 100:
        _console(is_error=False).print("Few were planted: this is an example, not a measurement.")
    _console().print(f"page: {atlas / run.outputs['page']}")


def _with_options(command: Callable[..., None], config: type, *but_not: str) -> None:
    """Give a command that takes **given the options of a config."""
    own = [each for each in inspect.signature(command).parameters.values() if each.kind is not each.VAR_KEYWORD]
    parameters = [*own, *_options(config, but_not)]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}


_with_options(simulate, SimulateConfig, "output")
_with_options(recover, RecoverConfig, "truth")


@app.command()
def top(
    atlas: AtlasArgument,
    n: Annotated[int, typer.Option("-n", help="how many")] = 25,
    by: Annotated[str, typer.Option(help="any score, measure or catalog column")] = FIRST_SHOWN,
    ranking: Annotated[str, typer.Option(help="name of the ranking")] = "main",
    figure: Annotated[bool, typer.Option("--figure", help="make the picture too, in figures/")] = False,
) -> None:
    """Show the most anomalous objects, ranked; --figure makes the picture."""
    opened = _atlas(atlas)
    _print_top(opened, n, by, ranking)
    if figure:
        from peculiar.run import atomic

        path = opened.folder / "figures" / f"top-{n}-{by}{'' if ranking == 'main' else '-' + ranking}.png"
        path.parent.mkdir(exist_ok=True)
        with atomic(path) as partial:
            opened.figure_top(n, by=by, ranking=ranking).savefig(partial, dpi=150)
        _console().print(f"figure: {path}")


def _print_top(atlas: "Atlas", n: int, by: str, ranking: str = "main") -> None:
    import numpy as np
    from rich.table import Table

    found = atlas.top(n, by=by, ranking=ranking)
    opened = atlas.ranking(ranking)
    weights = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in opened.weights.items())
    shown = Table(title=f"{len(found)} largest {by} of {len(opened):,}; {weights}", title_justify="left")
    has_positions = np.isfinite(np.ma.filled(found["ra"], np.nan)).any()
    where = ["ra", "dec"] if has_positions else ["source"]
    columns = dict.fromkeys(["rank", "object_id", by, "score_anom_sigma", "score_disc_sigma", *where])
    for name in columns:
        is_id = name == "object_id"
        shown.add_column(name, justify="left" if name == "source" else "right", overflow="fold", no_wrap=is_id)
    for row in found:
        shown.add_row(*(_cell(row[name]) for name in columns))
    _console(is_error=False).print(shown)


def _cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else _escaped(value)


@app.command()
def info(
    atlas: AtlasArgument, name: Annotated[str, typer.Argument(metavar="OBJECT", help="object_id or source")]
) -> None:
    """Show all that the atlas has on one object: catalog, scores, rank; or why it is in quarantine."""
    from rich.table import Table

    shown = Table(show_header=False, box=None)
    for key, value in _atlas(atlas).info(name).items():
        shown.add_row(key, _cell(value))
    _console(is_error=False).print(shown)


@app.command()
def status(atlas: AtlasArgument) -> None:
    """Show what is complete, interrupted, behind (objects to come) or stale (inputs changed)."""
    from rich.table import Table

    shown = Table("stage", "folder", "state", "detail")
    color = {"complete": "green", "absent": "dim", "interrupted": "yellow", "behind": "yellow", "stale": "red"}
    for each in _atlas(atlas).status():
        shown.add_row(each.stage, each.folder, f"[{color[each.state]}]{each.state}[/]", _escaped(each.detail))
    _console(is_error=False).print(shown)


@app.command()
def check(atlas: AtlasArgument) -> None:
    """Check that ids agree, that networks are those that scored, and that scores can be made again."""
    findings = _atlas(atlas).check()
    for each in findings:
        mark = "[green]right[/]" if each.is_right else "[red]wrong[/]"
        _console(is_error=False).print(f"{mark}  {_escaped(each.question)}: {_escaped(each.detail)}")
    if not all(each.is_right for each in findings):
        raise typer.Exit(FAILED)


@app.command()
def quarantine(
    atlas: AtlasArgument, n: Annotated[int, typer.Option("-n", help="how many to show; 0 for all")] = 50
) -> None:
    """Show what could not be read, and why."""
    from rich.table import Table

    table = _atlas(atlas).quarantine
    shown, count = Table("source", "rule", "value", "reason"), 0
    for batch in table.scan(["source", "rule", "value", "reason"]):
        for row in batch.to_pylist():
            count += 1
            if not n or count <= n:
                shown.add_row(*map(_escaped, row.values()))
    _console(is_error=False).print(shown)
    _console(is_error=False).print(f"{count} in quarantine")


def _version(is_asked: bool) -> None:
    if is_asked:
        _console(is_error=False).print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    pass
