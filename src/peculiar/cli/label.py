"""Commands about what people said: labels in and out, experts and their tokens, how far they agree."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from peculiar.cli.commands import AtlasArgument, app, open_atlas, say_done
from peculiar.cli.console import console, escaped, print_rows

if TYPE_CHECKING:
    import pyarrow as pa

    from peculiar.atlas import Atlas
    from peculiar.scoring.agreement import Summary

N_DISPUTED = 10


@app.command()
def labels(
    atlas: AtlasArgument,
    export: Annotated[
        Path | None, typer.Option("--export", help="write the current votes to this file: .csv, .parquet, .vot or .xml")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            "--import", help="add the labels of a table: object_id, label, and perhaps expert and at (a time)"
        ),
    ] = None,
    expert: Annotated[str, typer.Option("--expert", help="with --import: who said what names no expert")] = "",
    add_classes: Annotated[
        bool, typer.Option("--add-classes", help="with --import: add classes that are not known to the list")
    ] = False,
    columns: Annotated[
        bool, typer.Option("--columns", help="bring all votes together as columns of every ranking, label first")
    ] = False,
) -> None:
    """Show what people said of objects, and how far they agree; or take labels in and out.

    Every label is kept with who gave it and when; the newest of an expert on an object counts. Kappa is 1 where experts
    always agree and 0 where they do as often as by chance (Cohen 1960 for two, Fleiss 1971 for all).

    --import takes in labels made elsewhere; the same file again adds nothing. --columns gives every labelled object its
    most probable class (Dawid & Skene 1979): they stand in top, info and release then. peculiar learn ATLAS learns from
    the votes what is of interest."""
    if not atlas.is_dir():
        raise FileNotFoundError(f'there is no atlas {atlas}; "peculiar ingest" makes one')
    opened = open_atlas(atlas)
    if (expert or add_classes) and table is None:
        raise ValueError("--expert and --add-classes say how to --import a file; give one")
    if table is not None:
        _say_imported(opened, table, expert, add_classes)
    if export is not None:
        _export(opened, export)
    if columns:
        run = opened.gather_labels()
        say_done(run, objects=run.outputs["n_objects"], votes=run.outputs["n_votes"])
    if table is None and export is None and not columns:
        _show(opened)


@app.command()
def expert(
    atlas: AtlasArgument, name: Annotated[str, typer.Argument(metavar="NAME", help="as it is to stand with labels")]
) -> None:
    """Make a token for an expert who labels over the network, and print it, once; one made before no longer works.

    Who has it labels under this name: it is a password, and only its digest is kept."""
    token = open_atlas(atlas).labels.add_expert(name)
    console(is_error=False).print(escaped(token))
    console().print(
        f"Give it to {escaped(name)} by a private way, to enter where the page asks for a token; "
        "it cannot be shown again, but the same command makes another."
    )


def _say_imported(atlas: "Atlas", table: Path, expert: str, add_classes: bool) -> None:
    done = atlas.import_labels(table, expert=expert, add_classes=add_classes)
    parts = [f"{done.n_added} added of {done.n_rows} rows"]
    parts += [f"{done.n_known} known already"] * bool(done.n_known)
    parts += [f"{done.n_empty} without id or label"] * bool(done.n_empty)
    parts += [f"{done.n_unknown} of objects not in the survey"] * bool(done.n_unknown)
    parts += [f"new classes: {', '.join(done.classes_added)}"] * bool(done.classes_added)
    console().print(f"labels: {escaped(', '.join(parts))}")


def _export(atlas: "Atlas", path: Path) -> None:
    from peculiar.io.exports import write_labels

    n_votes = write_labels(path, atlas.labels.votes())
    console().print(f"{n_votes} labels: {escaped(path)}")


def _show(atlas: "Atlas") -> None:
    """The whole report."""
    from peculiar.scoring.agreement import summarize

    said = atlas.labels
    classes = said.classes()
    rows = [(each.key, each.name, each.description) for each in classes]
    _print_texts(["key", "class", "description"], rows, f"{len(classes)} classes")
    votes = said.votes()
    if not votes.num_rows:
        console(is_error=False).print(
            "Nothing is labelled yet: peculiar explore ATLAS, or --import FILE --expert NAME."
        )
        return
    object_id, expert, label = (votes[each].to_numpy() for each in ("object_id", "expert", "label"))
    _show_votes(summarize(object_id, expert.astype(str), label.astype(str)), classes, votes)


def _show_votes(found: "Summary", classes: list[Any], votes: "pa.Table") -> None:
    names = [each.name for each in classes if each.name in found.classes]
    names += [each for each in found.classes if each not in names]  # of earlier lists
    order = [found.classes.index(each) for each in names]
    rows = [
        [each, *found.n_votes[row, order].tolist(), int(found.n_votes[row].sum())]
        for row, each in enumerate(found.experts)
    ]
    shared = f"{found.n_objects:,} objects, {found.n_shared:,} of them by two or more"
    print_rows(["expert", *names, "all"], rows, f"{votes.num_rows:,} votes on {shared}")
    if not found.n_shared:
        return
    kappas = [(f"{each.experts[0]}, {each.experts[1]}", each.kappa, each.n_objects) for each in found.pairs]
    kappas += [
        (f"all, {name} or not", found.class_kappa[row], found.n_shared) for name, row in zip(names, order, strict=True)
    ]
    print_rows(["agreement of", "kappa", "objects"], [*kappas, ("all", found.kappa, found.n_shared)], "beyond chance")
    first = found.disputed[:N_DISPUTED].tolist()
    if first:
        said = [(each, _votes_on(votes, each)) for each in first]
        _print_texts(["object_id", "votes"], said, "most disputed")


def _votes_on(votes: "pa.Table", object_id: int) -> str:
    import pyarrow.compute as pc

    mine = votes.filter(pc.equal(votes["object_id"], object_id))
    return ", ".join(f"{row['expert']}: {row['label']}" for row in mine.to_pylist())


def _print_texts(names: list[str], rows: list[Any], title: str) -> None:
    """A table whose last column is folded."""
    from rich.table import Table

    shown = Table(title=title, title_justify="left")
    for name in names:
        shown.add_column(name, overflow="fold", no_wrap=name == "object_id")
    for row in rows:
        shown.add_row(*(escaped(each) for each in row))
    console(is_error=False).print(shown)
