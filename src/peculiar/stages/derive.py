"""Make columns of a survey's own: sizes, shapes and colors, and what a user writes as a formula."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np

from peculiar.joined import SURVEY, Joined, is_id, refuse_taken
from peculiar.ranking import columns_of
from peculiar.run import Run, Track, begin, finish, home_of, quiet
from peculiar.survey import Table

if TYPE_CHECKING:
    import pyarrow as pa

    from peculiar.catalog.derived import Derived

ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, kw_only=True)
class DeriveConfig:
    """What `derive` can be told."""

    of: Annotated[str, "what to derive columns of: survey, or catalogs/NAME"] = SURVEY
    columns: Annotated[str, "your own besides, as 'g_z = -2.5 * log10(flux_g / flux_z); NAME = FORMULA'"] = ""

    def __post_init__(self) -> None:
        """Check the formulas, and that the objects are not a ranking's, which are the survey's."""
        from peculiar.catalog.derived import parse_columns

        if self.of.startswith("rankings"):
            raise ValueError(f"of must be survey or catalogs/NAME, got {self.of!r}; a ranking has the survey's columns")
        parse_columns(self.columns)


def derive(
    folder: Path, config: DeriveConfig, *, name: str = "main", replace: bool = False, track: Track = quiet
) -> Run:
    """Fill `derived/<name>` of the atlas in `folder`, anew for all objects.

    `table.lance` holds object_id and the columns, float64, null where a formula has no value; each field's metadata say
    its unit, UCD and formula. They stand beside the survey's own columns everywhere then. What the survey has under one
    of the names already is left as it is.

    Raises
    ------
    ValueError
        Nothing can be derived of the columns there are, or a formula names one that is not there.
    """
    objects = columns_of(folder, config.of)
    steps, made = what_to_derive(objects, config, name)
    home = home_of(folder, "derived", name)
    run = begin(home, "derive", config, inputs={}, reads={config.of: objects.run.identity}, replace=replace)
    n_without = {each.column.name: 0 for each in made}
    with track("deriving columns", len(objects)) as advance:

        def batches() -> "Iterator[pa.RecordBatch]":
            for batch in _computed(objects.base, steps, made):
                for each in made:
                    n_without[each.column.name] += batch[each.column.name].null_count
                yield batch
                advance(batch.num_rows)

        Table(home / "table.lance").overwrite(batches())
    formulas = {each.column.name: each.formula.text for each in made}
    return finish(home, run, n_objects=len(objects), formulas=formulas, n_without=n_without)


def what_to_derive(objects: Joined, config: DeriveConfig, name: str) -> "tuple[list[Derived], list[Derived]]":
    """Return all that formulas may name, in the order of the work, and of that what is written.

    Raises
    ------
    ValueError
        Nothing is, or a formula names a column that is not there or holds no numbers, or makes one that is.
    """
    from peculiar.catalog.derived import derivable, parse_columns

    own = {each.name for each in objects.base.schema if _is_number(each.type) and not is_id(each.name)}
    known, mine = derivable(own), parse_columns(config.columns)
    there = own | {each.column.name for each in known}
    for each in mine:
        lacking = [column for column in each.formula.names if column not in there]
        if lacking:
            raise ValueError(f"{config.of} has no numbers {', '.join(lacking)}, which {each.column.name} is made of")
        if each.column.name in there:
            raise ValueError(f"{config.of} has a column {each.column.name} already; take another name")
        there.add(each.column.name)
    place = f"derived/{name}"
    refuse_taken(objects, [each.column.name for each in mine], but_of=place)
    taken = objects.names_but_of(place)
    # Those that are declared stand in one folder, not in every one.
    made = [each for each in known if name == "main" and each.column.name not in taken] + mine
    if not made:
        raise ValueError(
            f"nothing can be derived of {config.of}: sizes and colors need columns such as i_cmodel_exp_ellipse_11 and "
            "g_cmodel_flux (HSC) or shape_r and flux_g (Legacy Surveys); write your own with --columns"
        )
    return [*known, *mine], made


def _is_number(kind: "pa.DataType") -> bool:
    import pyarrow.types as types

    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)


def _computed(table: Table, steps: "list[Derived]", made: "list[Derived]") -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa

    names = {each.column.name for each in steps}
    read = sorted({name for each in steps for name in each.formula.names} - names)
    fields = [pa.field(each.column.name, pa.float64(), metadata=each.column.metadata()) for each in made]
    schema = pa.schema([pa.field("object_id", pa.int64()), *fields])
    for batch in table.scan(["object_id", *read], batch_size=ROWS_AT_ONCE):
        columns = {name: batch[name].cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False) for name in read}
        for each in steps:
            columns[each.column.name] = np.broadcast_to(each.formula(columns), batch.num_rows)
        values = [pa.array(columns[each.column.name], from_pandas=True) for each in made]  # NaN is null
        yield pa.record_batch([batch["object_id"], *values], schema=schema)
