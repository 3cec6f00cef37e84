"""What a service said at positions, kept in a folder: a Parquet file a request, whole or not there."""

from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from peculiar.run import atomic

_NOTHING = pa.schema([("place", pa.int64()), ("separation_arcsec", pa.float64()), ("counterpart", pa.string())])


class Answers:
    """Answers by position, right ascension and declination to the last bit; those of one question go into a folder.

    Parameters
    ----------
    folder
        Made if it is not there.
    question
        What was asked at the positions: the service, the radius and the columns, in a text; another one's answers in
        the same folder are passed over.
    """

    def __init__(self, folder: Path, question: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.question = folder, question.encode()
        self._prefix = f"{blake2b(self.question, digest_size=6).hexdigest()}-"

    def missing(self, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The positions that nothing was answered about yet, each once, by right ascension."""
        rows = self._read()
        known = np.empty(0, complex) if rows is None else _places(rows["ra"].to_numpy(), rows["dec"].to_numpy())
        left = np.setdiff1d(_places(ra, dec), known)
        return left.real.copy(), left.imag.copy()

    def keep(self, ra: np.ndarray, dec: np.ndarray, pairs: pa.Table) -> None:
        """Put an answer in its place: a row a pair, and one, with nothing in it, for a position without a pair."""
        place = pairs["place"].to_numpy()
        without = np.setdiff1d(np.arange(len(ra)), place)
        place = np.concatenate([place, without])
        is_empty = np.arange(len(place)) >= pairs.num_rows
        rows = pairs.drop_columns("place").take(pa.array(np.where(is_empty, 0, np.arange(len(place))), mask=is_empty))
        rows = rows.append_column("ra", pa.array(ra[place])).append_column("dec", pa.array(dec[place]))
        digest = blake2b(self.question + ra.tobytes() + dec.tobytes(), digest_size=16).hexdigest()
        with atomic(self.folder / f"{self._prefix}{digest}.parquet") as partial:
            pq.write_table(rows, partial)

    def pairs(self, ra: np.ndarray, dec: np.ndarray) -> pa.Table:
        """All pairs of positions, at least one, each once and ascending by ra and dec: `place` is the position's."""
        rows = self._read()
        if rows is None:
            return _NOTHING.empty_table()
        known, wanted = _places(rows["ra"].to_numpy(), rows["dec"].to_numpy()), _places(ra, dec)
        place = np.minimum(np.searchsorted(wanted, known), len(wanted) - 1)
        is_pair = (wanted[place] == known) & rows["separation_arcsec"].is_valid().to_numpy()
        kept = rows.drop_columns(["ra", "dec"]).filter(pa.array(is_pair))
        return kept.append_column("place", pa.array(place[is_pair]))

    def _read(self) -> pa.Table | None:
        """All rows that there are; None where nothing was answered."""
        files = sorted(self.folder.glob(f"{self._prefix}*.parquet"))
        read = [pq.read_table(file) for file in files]
        return pa.concat_tables(read, promote_options="permissive") if read else None


def _places(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    return ra + 1j * dec
