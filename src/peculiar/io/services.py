"""What SIMBAD, NED and VizieR know at positions: asked in chunks, politely, each answer a table of pairs.

Written after the services' own manuals and astroquery, and tested against a loopback server that speaks as these say;
it was never run against the real services.
"""

import io
import logging
import os
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from peculiar.io.archives.archive import host_of
from peculiar.io.archives.transport import DEADLINE, MAX_WAIT, PASSING, Pace, connected, named, retry_after
from peculiar.io.entries import quiet
from peculiar.io.ids import find_column
from peculiar.io.votables import NoVOTable, Reply, array, numbers, read_reply, row_texts, texts

if TYPE_CHECKING:
    import httpx

XMATCH_URL = "PECULIAR_XMATCH_URL"  # environment; else astroquery's address of the service
NED_URL = "PECULIAR_NED_URL"
NED_TAP = "https://ned.ipac.caltech.edu/tap/sync"  # ned.ipac.caltech.edu/Documents/Guides/Interface/TAP
MAX_RADIUS = 180.0  # arcsec; cds.unistra.fr/help/documentation/xmatch-more/api; kept to for NED too
MAX_BYTES = 500_000_000  # of a reply; 20,000 positions in a crowded table of SIMBAD's width are 50 MB
BLOCK = 2**16
VIZIER = re.compile(r"vizier:[A-Za-z][A-Za-z0-9+&./_-]*")
ROW, RA, DEC = "peculiar_row", "peculiar_ra", "peculiar_dec"  # names that no table of theirs has
PAIRS = ("place", "separation_arcsec", "counterpart", "known_as", "known_type")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """A service of positions: what it is called, and how much may be asked at a time.

    Parameters
    ----------
    key
        "simbad", "ned", or "vizier:" and the table's name.
    per_request
        Positions a request. CDS takes 100 MB, some 3 million rows, and gives back at most 2 million; NED's answers must
        be ready within 60 s.
    n_chance
        Objects whose shifted positions are asked for too, 8 each.
    """

    key: str
    url: str
    per_request: int
    n_chance: int

    @property
    def host(self) -> str:
        """Who is asked, for messages."""
        return host_of(self.url)

    @property
    def has_types(self) -> bool:
        """Whether it says what kind of object it is."""
        return not self.key.startswith("vizier:")


class TooMany(Exception):
    """The answer was cut off by the service; fewer positions at a time may do."""


def find_service(key: str) -> Service:
    """The service of a name.

    The addresses can be set by the environment: PECULIAR_XMATCH_URL (SIMBAD, VizieR), PECULIAR_NED_URL.

    Raises
    ------
    ValueError
        There is none of this name.
    ImportError
        astroquery is not installed.
    """
    if key == "ned":
        return Service(key, os.environ.get(NED_URL) or NED_TAP, per_request=50, n_chance=25)
    if key == "simbad" or VIZIER.fullmatch(key):
        url = os.environ.get(XMATCH_URL) or str(_astroquery().conf.url)
        return Service(key, url, per_request=20_000, n_chance=2_500)
    raise ValueError(f"service must be simbad, ned or vizier:TABLE (vizier:II/246/out, say), got {key!r}")


class Asker:
    """Asks one service, one request at a time; a context.

    Parameters
    ----------
    service
        Whom.
    radius_arcsec
        Up to which separation; at most 180 arcsec.
    columns
        The service's columns to bring, beside names and types.
    n_tries
        How often to ask for what fails; the wait doubles each time.
    timeout_seconds
        Without a byte after which a request has failed.
    pause_seconds
        Between requests, and the first wait after a failure.
    """

    def __init__(
        self,
        service: Service,
        radius_arcsec: float,
        columns: Sequence[str] = (),
        *,
        n_tries: int = 5,
        timeout_seconds: float = 120.0,
        pause_seconds: float = 1.0,
    ) -> None:
        if not 0 < radius_arcsec <= MAX_RADIUS:
            raise ValueError(f"radius_arcsec must be above 0 and at most {MAX_RADIUS:g}, got {radius_arcsec}")
        self.service, self.radius_arcsec, self.columns = service, radius_arcsec, tuple(columns)
        self.n_tries, self.pause_seconds, self.timeout_seconds = n_tries, pause_seconds, timeout_seconds
        self._pace, self._url = Pace(pause_seconds), service.url
        self._connection = connected(timeout_seconds, 1, None)
        self._client: httpx.Client | None = None

    def __enter__(self) -> "Asker":
        self._client = self._connection.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._connection.__exit__(*error)

    def ask(self, ra: np.ndarray, dec: np.ndarray) -> pa.Table:
        """What the service has at positions (ICRS, degrees): a row a pair.

        `place` is the position's; `separation_arcsec`; `counterpart` is the same text wherever it is the same object;
        `known_as` is its name, `known_type` its type as the service writes it (null in VizieR), then `columns`. Where
        an answer is cut off, the positions are asked for by halves.

        Raises
        ------
        ConnectionError
            The service is not reached, or does not answer after so many tries, or asks to come back later.
        PermissionError
            It refuses to answer.
        ValueError
            It says that the question is wrong (no such table), or its answer lacks a column, or cannot be read.
        """
        try:
            answer = self._ned(ra, dec) if self.service.key == "ned" else self._xmatch(ra, dec)
        except TooMany:
            if len(ra) < 2:
                raise ValueError(
                    f"{self.service.host} has more within {self.radius_arcsec:g} arcsec of ra {ra[0]:.5f}, dec "
                    f"{dec[0]:.5f} than it gives; take a smaller radius"
                ) from None
            half = len(ra) // 2
            left, right = self.ask(ra[:half], dec[:half]), self.ask(ra[half:], dec[half:])
            moved = pa.array(right["place"].to_numpy() + half)
            right = right.set_column(0, "place", moved)
            return pa.concat_tables([left, right], promote_options="permissive")
        return answer

    def _xmatch(self, ra: np.ndarray, dec: np.ndarray) -> pa.Table:
        """By the cross-match service of CDS, Strasbourg: the positions are uploaded as CSV."""
        from astropy import units

        crossmatch = _astroquery().XMatchClass()
        # It would fetch the list of all tables to know this one; the service itself says what it does not have.
        crossmatch.get_available_tables = lambda **_: [self.service.key.removeprefix("vizier:")]
        rows = (f"{place},{right:.8f},{up:.8f}" for place, (right, up) in enumerate(zip(ra % 360, dec, strict=True)))
        upload = io.StringIO("\n".join([f"{ROW},{RA},{DEC}", *rows]) + "\n")
        data, files = crossmatch.query(
            *(upload, self.service.key),
            max_distance=self.radius_arcsec * units.arcsec,
            colRA1=RA,
            colDec1=DEC,
            selection="all",
            get_query_payload=True,
        )
        data["cat2"] = self.service.key  # astroquery 0.4.11 makes "vizier:simbad" of simbad; the manual knows no such
        reply = self._answered(data, files["files"], (ROW, "angDist"))
        table = reply.table
        rows_asked, separation = self._row_numbers(table), numbers(table["angDist"])
        place = np.where(np.isfinite(rows_asked), rows_asked, -1).astype(np.int64)
        if self.service.key == "simbad":
            self._must_have(table.colnames, ("main_id", "main_type"))
            name, kind = texts(table["main_id"]), texts(table["main_type"])
            counterpart = self._named(name, table)
        else:
            others = [each for each in table.colnames if each not in (ROW, RA, DEC, "angDist")]
            counterpart, kind = row_texts(table, others), pa.nulls(len(table), pa.string())
            name = pa.nulls(len(table), pa.string()) if reply.main_id is None else texts(table[reply.main_id])
        return self._pairs(place, separation, (counterpart, name, kind), table, np.arange(len(table)), len(ra))

    def _ned(self, ra: np.ndarray, dec: np.ndarray) -> pa.Table:
        """By NED's table access: one query of as many cones; which is whose is told by positions here."""
        from peculiar.catalog.crossmatch import pairs_within

        # A hundredth more, as the service reckons a circle's edge in its own way; then cut exactly.
        radius = 1.01 * self.radius_arcsec / 3600
        cones = (
            f"CONTAINS(POINT('J2000',ra,dec),CIRCLE('J2000',{right:.8f},{up:.8f},{radius:.8f}))=1"
            for right, up in zip(ra % 360, dec, strict=True)
        )
        query = f"SELECT * FROM NEDTAP.objdir WHERE {' OR '.join(cones)}"
        data = {"REQUEST": "doQuery", "LANG": "ADQL", "FORMAT": "votable", "QUERY": query}
        table = self._answered(data, None, ("prefname", "ra", "dec")).table
        kind = find_column(table.colnames, ("prefphytype", "pretype")) or "prefphytype"
        self._must_have(table.colnames, (kind,))
        is_placed = np.isfinite(numbers(table["ra"])) & np.isfinite(numbers(table["dec"]))
        table = table[is_placed]
        place, row, separation = pairs_within(
            *(ra, dec, numbers(table["ra"]), numbers(table["dec"])), self.radius_arcsec
        )
        name, taken = texts(table["prefname"]), pa.array(row)
        counterpart = self._named(name, table)
        said = (counterpart.take(taken), name.take(taken), texts(table[kind]).take(taken))
        return self._pairs(place, separation, said, table, row, len(ra))

    def _pairs(
        self,
        place: np.ndarray,
        separation: np.ndarray,
        said: tuple[pa.Array, ...],
        table: Any,
        row: np.ndarray,
        n_asked: int,
    ) -> pa.Table:
        """Pairs with the columns that are wanted of a table's rows, under their names behind an underscore."""
        self._must_have(table.colnames, self.columns)
        farthest = 1.01 * self.radius_arcsec + 0.01  # as services round
        is_pair = (separation >= 0) & (separation <= farthest) & (place >= 0) & (place < n_asked)
        if not is_pair.all():
            first = int(np.flatnonzero(~is_pair)[0])
            raise ValueError(
                f"{self.service.host} answers with pairs that were not asked for: position {place[first]} of "
                f"{n_asked}, {separation[first]} arcsec where {self.radius_arcsec:g} was the most; nothing of it is "
                "kept"
            )
        arrays = [pa.array(place), pa.array(separation), *said]
        fields = [pa.field(name, each.type) for name, each in zip(PAIRS, arrays, strict=True)]
        for name in self.columns:
            column, values = table[name], array(table[name])
            metadata = {"unit": str(column.unit or ""), "description": column.description or ""}
            fields.append(pa.field(f"_{name}", values.type, metadata={k: v for k, v in metadata.items() if v}))
            arrays.append(values.take(pa.array(row)))
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields))

    def _row_numbers(self, table: Any) -> np.ndarray:
        """Which position each row is of, as was uploaded."""
        try:
            found = numbers(table[ROW])
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{self.service.host} answers with row numbers that are none: {str(error)[:100]}"
            ) from error
        if found.ndim != 1:
            raise ValueError(f"{self.service.host} answers with row numbers that are lists")
        return found

    def _named(self, name: pa.Array, table: Any) -> pa.Array:
        """What tells counterparts apart: their names, and where there is none the whole row."""
        if not name.null_count:
            return name
        others = [each for each in table.colnames if each not in (ROW, RA, DEC, "angDist")]
        return pc.coalesce(name, row_texts(table, others))

    def _must_have(self, there: Sequence[str], names: Sequence[str]) -> None:
        missing = [name for name in names if name not in there]
        if missing:
            given = ", ".join(name for name in there if name not in (ROW, RA, DEC))
            raise ValueError(f"{self.service.key} gives no column {', '.join(missing)}; it gives: {given}")

    def _answered(self, data: Mapping[str, Any], files: Mapping[str, Any] | None, needed: Sequence[str]) -> Reply:
        """What is answered to a form, asked for as often as may be."""
        with tempfile.TemporaryDirectory(prefix="peculiar-") as folder:
            path, reason = Path(folder) / "reply.xml", ""
            for attempt in range(self.n_tries):
                if attempt:
                    log.info("%s: %s; asked again", self.service.host, reason)
                    self._pace.back_off(attempt)
                reason = self._send(data, files, path)
                self._pace.hold(self.pause_seconds)
                if reason:
                    continue
                try:
                    reply = read_reply(path)
                except NoVOTable as error:  # a page that says "come back later", or what was cut off without a word
                    reason = f"no VOTable: {error}"
                    continue
                if reply.is_cut_off:
                    raise TooMany
                if reply.error:
                    raise ValueError(f"{self.service.host} says: {reply.error[:300]}")
                self._must_have(reply.table.colnames, needed)
                return reply
        raise ConnectionError(
            f"{self.service.host} gave no answer, tries: {self.n_tries} ({reason}); are you online? What was answered "
            "before is kept, the same command goes on"
        )

    def _send(self, data: Mapping[str, Any], files: Mapping[str, Any] | None, path: Path) -> str:
        """Ask once; why it failed, if it may go well the next time."""
        import httpx

        assert self._client is not None
        self._pace.wait()
        n_bytes, began = 0, time.monotonic()
        try:
            with self._client.stream(
                *("POST", self._url), data=dict(data), files=files, follow_redirects=False
            ) as response:
                if response.has_redirect_location:  # followed here: httpx would make a GET of it, without the form
                    moved = response.url.join(response.headers["Location"])
                    if moved.scheme not in ("http", "https"):
                        raise ValueError(f"{self.service.host} sends on to {str(moved)[:100]}, which is no web address")
                    self._url = str(moved)
                    return f"moved to {host_of(self._url)}"
                if response.status_code != 200:
                    return self._refused(response)
                with path.open("wb") as file:
                    for block in response.iter_bytes(BLOCK):
                        n_bytes += file.write(block)
                        if time.monotonic() - began > DEADLINE * self.timeout_seconds:
                            return "too slow to wait for"
                        if n_bytes > MAX_BYTES:
                            raise TooMany
            return "" if n_bytes else "an empty answer"
        except httpx.TimeoutException:
            return "timed out"
        except httpx.DecodingError:
            return "not packed as it says"
        except httpx.TransportError as error:
            is_cut = isinstance(error, httpx.ReadError | httpx.RemoteProtocolError)
            return "connection cut" if is_cut else f"no connection: {named(error)}"

    def _refused(self, response: "httpx.Response") -> str:
        """What a status other than 200 means; the same as the return of `_send`."""
        status, host = response.status_code, self.service.host
        wait = retry_after(response.headers.get("Retry-After", ""))
        if wait > MAX_WAIT:
            raise ConnectionError(f"{host} asks to wait {wait:,.0f} s; run the same command then, it goes on")
        if status in (401, 403):
            raise PermissionError(
                f"{host} refuses access (status {status}). CDS does so to who asked too much at a time; write to them: "
                "cds-question at unistra.fr"
            )
        if status not in PASSING:
            text = re.sub("<[^>]*>", " ", response.read().decode("utf-8", "replace"))
            raise ValueError(f"{host} refuses the question (status {status}): {' '.join(text.split())[:300]}")
        self._pace.hold(wait)
        return f"status {status}"


def _astroquery() -> Any:
    """The module of the CDS cross-match."""
    try:
        with quiet():
            from astroquery import xmatch
    except ImportError as error:
        raise ImportError('SIMBAD and VizieR need astroquery; pip install "peculiar[catalog]"') from error
    return xmatch


def _numbers(column: Any) -> np.ndarray:
    """A column as float64, NaN where it is masked."""
    values = np.asarray(column, np.float64)
    return np.where(np.ma.getmaskarray(column), np.nan, values) if hasattr(column, "mask") else values


def _masked(column: Any) -> pa.Array:
    """Numbers and truths, null where they are masked or NaN."""
    values, mask = np.asarray(column), np.ma.getmaskarray(np.ma.asarray(column))
    if values.dtype.kind == "f":
        mask = mask | np.isnan(values)
    return pa.array(np.ascontiguousarray(values, values.dtype.newbyteorder("=")), mask=mask)


def _texts(column: Any) -> pa.Array:
    """Texts without blanks at their ends, null where they are masked or empty."""
    mask = np.ma.getmaskarray(column) if hasattr(column, "mask") else np.zeros(len(column), bool)
    texts = [each.decode() if isinstance(each, bytes) else str(each) for each in np.asarray(column).tolist()]
    return pa.array(
        [None if gone or not each.strip() else each.strip() for each, gone in zip(texts, mask, strict=True)],
        pa.string(),
    )


def _row_texts(table: Any, names: Sequence[str]) -> pa.Array:
    """All that a row says, as one text: the same for the same row of a table without names."""
    if not len(table):
        return pa.array([], pa.string())
    columns = [map(str, table[name].tolist()) for name in names]
    return pa.array(["\t".join(parts) for parts in zip(*columns, strict=True)], pa.string())
