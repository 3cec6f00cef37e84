"""The command that opens the page."""

import getpass
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
