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
from peculiar.stages.ingest import IngestConfig
from peculiar.stages.rank import FIRST_SHOWN, RankConfig
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
    Literal["auto", "paper", "small"], typer.Option("--preset", help="auto picks by device and number of images")
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
    with progress.Progress(*columns, console=console, disable=not console.is_terminal, speed_estimate_period=60) as bars:
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


def _options(config: type, only: tuple[str, ...] = ()) -> list[inspect.Parameter]:
    """A Typer option of every field, None where it is not given, so that a recorded config is not overridden."""
    hints = get_type_hints(config, include_extras=True)
    defaults = config() if config is not SimulateConfig else None
    parameters = []
    for field in dataclasses.fields(config):
        if only and field.name not in only:
            continue
        kind, text = get_args(hints[field.name])[:2]
        kind, parser = _cli_type(kind)
        flag = "--" + field.name.removeprefix("is_").replace("_", "-")
        names = [f"{flag}/--no-{flag[2:]}"] if kind is bool else [flag, *_SHORT.get(flag, ())]
        default = getattr(defaults, field.name) if defaults is not None else field.default
        option = typer.Option(*names, help=text, show_default=_shown(default), parser=parser, metavar=_metavar(parser))
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


def _shown(default: Any) -> str | bool:
    """The default as help shows it; nothing where it is empty."""
    if default is None or default in ((), "", Path()) or default is dataclasses.MISSING:
        return False
    return ",".join(f"{each:g}" for each in default) if isinstance(default, tuple) else str(default)


def _command(
    name: str, config: type, text: str, act: Callable[..., Any], *extra: tuple[str, Any, Any], only: tuple[str, ...] = ()
) -> None:
    """Register a command whose options are a config's fields, and `extra` ones (name, annotation, default)."""

    def command(atlas: Path, **given: Any) -> None:
        act(_atlas(atlas), **{key: value for key, value in given.items() if value is not None})

    atlas = inspect.Parameter("atlas", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=AtlasArgument)
    others = [
        inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for key, annotation, default in extra
    ]
    parameters = [atlas, *_options(config, only), *others]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    app.command(name, help=text)(command)
