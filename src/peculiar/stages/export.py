"""Write any objects of an atlas, in any order, as a product that others can read, check and cite."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from peculiar import products
from peculiar.ranking import columns_of
from peculiar.run import Run, Track, at_least, begin, finish, home_of, quiet

STEM = "catalog"


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What `export` can be told."""

    of: Annotated[str, "what to export: rankings/NAME, survey, or catalogs/NAME (imported)"] = "rankings/main"
    where: Annotated[str, "only objects that pass this filter, such as 'is_masked = 0'; empty: all"] = ""
    columns: Annotated[tuple[str, ...], "columns, beside object_id; empty: all"] = ()
    formats: products.Formats = ("parquet", "fits", "votable", "csv", "hats")
    by: Annotated[str, "column that rows are ordered by, the largest first; empty: the order first shown"] = ""
    is_ascending: Annotated[bool, "the smallest first"] = False
    n_first: Annotated[int, "so many first rows alone; 0: all"] = 0
    is_one_a_group: Annotated[bool, "of each group the first alone; peculiar group makes them"] = False
    title: products.Title = ""
    creators: products.Creators = ""
    license: products.License = ""
    doi: products.Doi = ""
    version: products.Version = ""

    def __post_init__(self) -> None:
        """Check the ranges."""
        products.check(self)
        at_least(self, 0, "n_first")


def export(
    folder: Path, config: ExportConfig, *, name: str = "main", replace: bool = False, track: Track = quiet
) -> Run:
    """Fill `products/<name>` of the atlas in `folder`.

    `catalog.*` and `catalog_hats/` hold the rows, `index.html` says what they are, `croissant.json` says it to
    machines, and `SHA256SUMS` lets both check them. Everything is written anew each time, each file put in place whole.

    Raises
    ------
    FileNotFoundError
        What to export is not complete.
    ValueError, KeyError
        The filter is none or nothing passes it; a column is not there; nothing was grouped.
    ImportError
        HATS is asked for and cdshealpix is not installed.
    """
    from peculiar.io.product_pages import PAGE, describe_product

    products.check_installed(config.formats)
    objects = columns_of(folder, config.of)
    schema = products.described_schema(objects, config.columns)
    places = objects.order(config.by, descending=not config.is_ascending)
    places = places[products.passing(objects, config.where)[places]]
    n_passing = len(places)
    if config.is_one_a_group:
        places = products.one_a_group(objects, places)
    n_left_out = n_passing - len(places)
    places = places[: config.n_first or None]
    home = home_of(folder, "products", name)
    reads = {config.of: objects.run.identity}
    run = begin(home, "export", config, inputs={"tables": objects.versions}, reads=reads, replace=replace)
    description = f"{len(places):,} objects of {config.of} of the atlas {folder.resolve().name}"
    description += f" that pass {config.where}" if config.where else ""
    description += ", one a group" * config.is_one_a_group
    table = products.write_table(
        objects,
        home,
        STEM,
        places,
        formats=config.formats,
        description=description,
        schema=schema,
        facts={"obs_description": description, **products.hats_facts(config)},
        track=track,
    )
    describe_product(
        home,
        [table],
        name=f"{folder.resolve().name}: {config.of}",
        description=description,
        credit=products.credit_of(config),
        facts={
            "objects": len(places),
            **({"of so many": len(objects)} if len(places) < len(objects) else {}),
            **({"left out, as others of their groups are listed": n_left_out} if config.is_one_a_group else {}),
            "columns": len(schema),
        },
        provenance={"ordered by": config.by or objects.first_shown, **products.provenance_of(objects)},
        track=track,
    )
    return finish(
        home,
        run,
        n_objects=len(places),
        n_left_out=n_left_out,
        n_not_in_hats=table.n_not_in_hats,
        files=table.files,
        not_written=table.left_out,
        page=(home / PAGE).relative_to(folder).as_posix(),
    )
