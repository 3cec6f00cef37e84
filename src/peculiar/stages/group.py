"""Group objects that are pieces of one galaxy, as far as their positions can tell."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np

from peculiar.joined import GROUP
from peculiar.ranking import columns_of
from peculiar.run import Run, begin, finish, home_of
from peculiar.survey import Table

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class GroupConfig:
    """What `group` can be told."""

    radius_arcsec: Annotated[float, "objects at most so far apart, and what these are near to, are one group"] = 8.0
    of: Annotated[str, "what to group: rankings/NAME, survey, or catalogs/NAME (imported)"] = "rankings/main"
    by: Annotated[str, "score that the members of a group are ordered by; empty: the order first shown"] = ""

    def __post_init__(self) -> None:
        """Check the ranges; the radius is checked by the science too, which knows why."""
        if not self.radius_arcsec > 0:
            raise ValueError(f"radius_arcsec must be above 0, got {self.radius_arcsec}")


def group(folder: Path, config: GroupConfig, *, name: str = "main", replace: bool = False) -> Run:
    """Fill `groups/<name>` of the atlas in `folder`, anew from all positions.

    `table.lance` holds object_id and the columns `GROUP`: the smallest object_id of the group, its size, the place in
    it and whether that is the first. They stand in the ranking then; those of another name as `group_id-NAME`. Objects
    without a position are in no group: null, and representatives of themselves.

    Raises
    ------
    FileNotFoundError
        The ranking or the catalog is not complete.
    ValueError
        No object has a position.
    """
    from peculiar.catalog.groups import group_objects

    objects = columns_of(folder, config.of)
    by = config.by or objects.first_shown
    ids, reads = objects.object_ids, {config.of: objects.run.identity}
    missing = [each for each in ("ra", "dec", by) if each not in objects.schema.names]
    if missing:
        raise ValueError(f"{config.of} has no column {', '.join(missing)}; it has: {', '.join(objects.schema.names)}")
    ra, dec = objects.column("ra"), objects.column("dec")
    # Ids are no order of anomalies: the smallest is the first, as where values are equal.
    value = np.zeros(len(ids)) if by == "object_id" else objects.column(by)
    made_by = objects.made_of("rankings")
    reads |= {
        place: each for place, each in made_by.items() if by in Table(folder / place / "table.lance").schema.names
    }
    if not (np.isfinite(ra) & np.isfinite(dec)).any():
        raise ValueError(f"no object of {config.of} has a position, ra and dec, to be grouped by")
    found = group_objects(ids, ra, dec, value, radius_arcsec=config.radius_arcsec)
    home = home_of(folder, "groups", name)
    run = begin(home, "group", config, inputs={}, reads=reads, replace=replace)

    import pyarrow as pa

    def known(values: np.ndarray) -> "pa.Array":
        return pa.array(values, mask=~found.is_placed)

    columns = [known(found.group_id), known(found.size), known(found.rank), pa.array(found.is_representative)]
    rows = {"object_id": pa.array(ids), **dict(zip(GROUP, columns, strict=True))}
    Table(home / "table.lance").overwrite([pa.record_batch(rows)])
    counts = {
        "n_grouped": found.n_grouped,
        "n_groups": found.n_groups,
        "n_listed_one_a_group": int(found.is_representative.sum()),
        "n_without_position": int((~found.is_placed).sum()),
    }
    return finish(home, run, n_objects=len(ids), by=by, largest=int(found.size.max()), **counts)
