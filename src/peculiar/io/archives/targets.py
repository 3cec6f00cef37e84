"""Any table with positions to the objects that cutouts are wanted of."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from peculiar.io.archives.archive import Target

if TYPE_CHECKING:
    import pyarrow as pa

Useless = tuple[int | None, str, str]  # object_id, what, reason


class Targets:
    """Objects of a table, by object_id or, without one, by position; `useless` rows have none, or one twice."""

    def __init__(self, path: Path, id_column: str = "") -> None:
        self.useless: list[Useless] = []
        self.table = self._read(path, id_column)

    @property
    def has_ids(self) -> bool:
        """Whether the table has ids."""
        return "object_id" in self.table.column_names

    def __iter__(self) -> Iterator[Target]:
        seen: set[str] = set()
        self.useless = list(self._repeated)
        for batch in self.table.to_batches(max_chunksize=10_000):
            columns = batch.to_pydict()
            ids = columns.get("object_id") or [None] * batch.num_rows
            for object_id, ra, dec in zip(ids, columns["ra"], columns["dec"], strict=True):
                if ra is None or dec is None or not (math.isfinite(ra) and -90 <= dec <= 90):
                    self.useless.append((object_id, f"ra {ra}, dec {dec}", "no valid position"))
                    continue
                name = f"{ra % 360:011.7f}{dec:+011.7f}" if object_id is None else str(object_id)
                if object_id is None and name in seen:
                    self.useless.append((None, name, "the same position twice"))
                    continue
                if object_id is None:
                    seen.add(name)
                yield Target(name, object_id, ra % 360, dec)

    def _read(self, path: Path, id_column: str) -> "pa.Table":
        from peculiar.io.catalogs import DEC_NAMES, ID_NAMES, RA_NAMES, read_catalog
        from peculiar.io.ids import find_column
        from peculiar.io.tables import read_table

        raw = read_table(path)
        names = raw.column_names
        self._repeated: list[Useless] = []
        if id_column or find_column(names, ID_NAMES):
            catalog = read_catalog(path, id_column=id_column or None, columns=[])
            self._repeated = [(each.object_id, each.source, each.rule) for each in catalog.rejected]
            table = catalog.table
        else:
            found = {"ra": find_column(names, RA_NAMES), "dec": find_column(names, DEC_NAMES)}
            table = raw.select([each for each in found.values() if each]).rename_columns(
                [house for house, each in found.items() if each]
            )
            for field in table.schema:
                unit = (field.metadata or {}).get(b"unit", b"deg").decode().lower()
                if unit not in ("deg", "degree", "degrees"):
                    raise ValueError(f"{path}: {field.name} must be in degrees, got {unit!r}")
        if not {"ra", "dec"} <= set(table.column_names):
            raise ValueError(f"{path} has no ra and dec; cutouts are fetched by position; it has: {', '.join(names)}")
        import pyarrow as pa

        kept = [each for each in ("object_id", "ra", "dec") if each in table.column_names]
        types = {"object_id": pa.int64(), "ra": pa.float64(), "dec": pa.float64()}
        return table.select(kept).cast(pa.schema([(each, types[each]) for each in kept]))
