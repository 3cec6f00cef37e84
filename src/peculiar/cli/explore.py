"""The command that opens the page."""

import getpass
from pathlib import Path
from typing import Annotated

import typer

from peculiar.cli.commands import AtlasArgument, app, open_atlas
from peculiar.cli.console import console


@app.command()
def explore(
    atlas: AtlasArgument,
    host: Annotated[str, typer.Option(help="where to listen; other machines need a token each")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="where to listen; 0 takes any that is free")] = 8460,
    expert: Annotated[str, typer.Option(help="who labels on this machine [your name here]", show_default=False)] = "",
    tokens: Annotated[bool, typer.Option("--tokens", help="ask for a token on this machine too")] = False,
    read_only: Annotated[bool, typer.Option("--read-only", help="look, and change nothing")] = False,
    blind: Annotated[bool, typer.Option("--blind", help="tell others' labels only when one's own is in")] = False,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="a name by which other machines call this one; may be given again")
    ] = None,
    browser: Annotated[bool, typer.Option(help="open the page in the browser")] = True,
    ranking: Annotated[str, typer.Option(help="name of the ranking")] = "main",
) -> None:
    """Open the atlas in the browser: map, images, table, labels.

    On this machine alone, unless --host says otherwise; other machines then need a token for each expert, which
    "peculiar expert ATLAS NAME" makes. Ends with Ctrl-C; labels are on the disk when the page says so.
    """
    from peculiar.explorer import Options, serve

    is_mine = host in ("127.0.0.1", "::1", "localhost") and not tokens
    if expert and not is_mine:
        raise ValueError("--expert is who labels on this machine without a token; make tokens by: peculiar expert")
    options = Options(
        host=host,
        port=port,
        ranking=ranking,
        expert=(expert or getpass.getuser()) if is_mine else "",
        is_read_only=read_only,
        is_blind=blind,
        allowed_hosts=tuple(allow_host or ()),
    )

    def say(url: str) -> None:
        console(is_error=False).print(f"the atlas is at {url} (Ctrl-C ends)")
        if browser:
            typer.launch(url)

    serve(open_atlas(atlas).folder, options, say)


@app.command()
def publish(
    atlas: AtlasArgument,
    site: Annotated[Path, typer.Argument(metavar="SITE", help="the folder to write", show_default=False)],
    n: Annotated[int, typer.Option("-n", help="how many objects, the first of the order")] = 1_000,
    by: Annotated[str, typer.Option(help="what they are ordered by; empty: the first shown")] = "",
    where: Annotated[str, typer.Option(help="only those that pass this filter, as 'ra < 150 and dec > 2'")] = "",
    title: Annotated[str, typer.Option(help="of the page; empty: the atlas's name")] = "",
    ranking: Annotated[str, typer.Option(help="name of the ranking")] = "main",
) -> None:
    """Write a sample as a site that needs no server: map, images, table, the evidence on each object.

    Put the folder on any web host, or open its index.html. Nothing can be changed there, and no expert is named;
    columns of labels are published with the others.
    """
    from peculiar.cli.console import track
    from peculiar.explorer.publishing import publish as write

    n_objects = write(
        open_atlas(atlas).folder, site, where=where, by=by, n=n, title=title, ranking=ranking, track=track
    )
    console().print(f"{n_objects:,} objects are in {site}; open {site / 'index.html'}")
