"""Commands that ask the archives of surveys: for catalogs, and for cutouts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from peculiar.cli.commands import QUARANTINED, ReplaceOption, app, options_of, say_done
from peculiar.cli.console import console, escaped, track
from peculiar.io.archives.catalog_jobs import JobOptions
from peculiar.io.archives.hips import Hips
from peculiar.io.archives.hsc import Hsc
from peculiar.io.archives.hsc_query import HscQuery
from peculiar.io.archives.legacysurvey import LegacySurvey
from peculiar.stages.fetch import FAILURES, FetchConfig, ingest_command
from peculiar.stages.fetch import fetch as get

if TYPE_CHECKING:
    from collections.abc import Callable

    from peculiar.io.archives.archive import Archive

query = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Print a catalog query for a survey's archive.")
fetch = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Get cutouts of a table's objects from a survey's archive.

    Interrupted, the same command goes on; exit code 3: done, but for what OUT/failures.csv lists.""",
)
app.add_typer(query, name="query")
app.add_typer(fetch, name="fetch")
TableArgument = Annotated[
    Path, typer.Argument(metavar="TABLE", help="CSV, FITS, VOTable, ECSV or Parquet with ra, dec and, best, object_id")
]
OutputArgument = Annotated[Path, typer.Argument(metavar="OUT", help="folder to fill")]


@query.command("hsc")
def query_hsc(
    submit: Annotated[
        Path | None,
        typer.Option("--submit", metavar="OUT", help="run it in the archive, and put the table here: .fits, .csv[.gz]"),
    ] = None,
    **given: Any,
) -> None:
    """Print the paper's query of the Hyper Suprime-Cam catalog, corrected, as PostgreSQL; or run it in the archive.

    An account comes from HSC_SSP_CAS_USER and HSC_SSP_CAS_PASSWORD, netrc or the keyring, and is written nowhere.
    Interrupted, the same command goes on with the same job. Neither query nor service was tried on the archive yet."""
    from peculiar.io.archives.catalog_jobs import run_query
    from peculiar.io.archives.hsc_query import hsc_sql

    asked = HscQuery(**_given(HscQuery, given))
    options = JobOptions(**_given(JobOptions, given))
    sql = hsc_sql(asked)
    if submit is None:
        typer.echo(sql, nl=False)
        return
    table = run_query(sql, asked.release, submit, options)
    console().print(f"query hsc: {escaped(table)}; next: peculiar fetch hsc {escaped(table)} cutouts")


def _given(config: type, given: dict[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in config.__dataclass_fields__ if given.get(name) is not None}  # type: ignore[attr-defined]


def _add_fetch(name: str, kind: "Callable[..., Archive]", text: str, required: str = "") -> None:
    """Register the command of an archive: its options, and those of the loop."""

    def command(table: TableArgument, output: OutputArgument, replace: ReplaceOption = False, **given: Any) -> None:
        if required and given.get(required) is None:
            raise ValueError(f"give --{required}")
        archive = kind(**_given(kind, given))  # type: ignore[arg-type]
        config = FetchConfig(table=table, output=output, **_given(FetchConfig, given))
        run = get(archive, config, replace=replace, track=track)
        say_done(run, **{key: run.outputs[key] for key in ("n_files", "n_known", "n_failed", "n_requests")})
        console().print(f"next: {escaped(ingest_command(archive, run, output))}")
        if run.outputs["n_failed"]:
            console().print(f"{run.outputs['n_failed']} were not fetched; reasons: {escaped(output / FAILURES)}")
            raise typer.Exit(QUARANTINED)

    _take_options(command, (kind, ()), (FetchConfig, ("table", "output")))  # type: ignore[arg-type]
    fetch.command(name, help=text)(command)


def _take_options(command: "Callable[..., None]", *configs: tuple[type, tuple[str, ...]]) -> None:
    """Give a command that takes **given the options of several configs."""
    import inspect

    own = [each for each in inspect.signature(command).parameters.values() if each.kind is not each.VAR_KEYWORD]
    parameters = [*own, *(option for config, but_not in configs for option in options_of(config, but_not))]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}


_take_options(query_hsc, (HscQuery, ()), (JobOptions, ()))
_add_fetch(
    "hsc",
    Hsc,
    """Get cutouts of the Hyper Suprime-Cam survey, a FITS file a band, a thousand a request.

    An account comes from HSC_SSP_CAS_USER and HSC_SSP_CAS_PASSWORD, netrc or the keyring, and is written nowhere.""",
)
_add_fetch("legacysurvey", LegacySurvey, "Get cutouts of the DESI Legacy Imaging Surveys, one file an object.")
_add_fetch("hips", Hips, "Get cutouts of any survey that is a HiPS, by the CDS's hips2fits.", required="hips")
