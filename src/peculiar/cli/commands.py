"""Commands made of config dataclasses: name, type, help and default of an option are the field's."""

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from peculiar.cli.console import console, track

if TYPE_CHECKING:
    from peculiar.atlas import Atlas

FAILED, QUARANTINED = 1, 3  # exit codes; 2 is Typer's, for wrong options

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


def open_atlas(folder: Path) -> "Atlas":
    """The atlas in a folder, its long loops followed on the console."""
    from peculiar.atlas import Atlas

    return Atlas(folder, track=track)


# Options from config dataclasses: name, type, help and default are the field's.

_SHORT = {"--catalog": ("--catalogue",)}


def options_of(config: type, but_not: tuple[str, ...] = ()) -> list[inspect.Parameter]:
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
    if isinstance(default, tuple):
        default = ",".join(each if isinstance(each, str) else f"{each:g}" for each in default)
    return f" [{default}]"


def add_command(name: str, config: type, text: str, act: Callable[..., Any], *extra: tuple[str, Any, Any]) -> None:
    """Register a command whose options are a config's fields, and `extra` ones (name, annotation, default)."""

    def command(atlas: Path, **given: Any) -> None:
        act(open_atlas(atlas), **{key: value for key, value in given.items() if value is not None})

    atlas = inspect.Parameter("atlas", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=AtlasArgument)
    others = [
        inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for key, annotation, default in extra
    ]
    parameters = [atlas, *options_of(config), *others]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    app.command(name, help=text)(command)


def say_done(run: Any, **shown: Any) -> None:
    """Say what a stage did, and leave with code 3 where inputs are in quarantine."""
    parts = [f"{key.removeprefix('n_').replace('_', ' ')} {value}" for key, value in shown.items()]
    console().print(f"{run.stage}: " + (", ".join(parts) or "complete"))


def calls(method: str, **kept: str) -> Callable[..., None]:
    """What a command does that calls an Atlas method and shows some of what it put out."""

    def act(atlas: "Atlas", **given: Any) -> None:
        run = getattr(atlas, method)(**given)
        say_done(run, **{label: run.outputs.get(key) for label, key in kept.items()})

    return act


def presets_text(presets: dict[str, Any]) -> str:
    """What the presets are, for help, indented as the text before them: the fields in which they differ."""
    first = next(iter(presets.values()))
    names = [each.name for each in dataclasses.fields(first)]
    differing = [name for name in names if len({repr(getattr(each, name)) for each in presets.values()}) > 1]
    lines = (
        f"{key}: " + ", ".join(f"{name} {getattr(each, name)}" for name in differing) for key, each in presets.items()
    )
    return "\n\n    Presets. " + "; ".join(lines) + "."


def with_options(command: Callable[..., None], config: type, *but_not: str) -> None:
    """Give a command that takes **given the options of a config."""
    own = [each for each in inspect.signature(command).parameters.values() if each.kind is not each.VAR_KEYWORD]
    parameters = [*own, *options_of(config, but_not)]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}


def named(default: str) -> tuple[str, Any, str]:
    """The option --name of a stage whose folder is called so by default."""
    return "name", NameOption, default


REPLACE = ("replace", ReplaceOption, False)
PRESET = ("preset", PresetOption, None)
