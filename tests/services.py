"""Services on loopback that speak the protocols of CDS's cross-match and of NED's table access, and fail as told."""

import email
import email.policy
import io
import re
import threading
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import numpy as np
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import votable
from astropy.table import MaskedColumn, Table

PAGE = b"<!DOCTYPE html><html><body>Service unavailable</body></html>"
SAYS_ERROR = b"""<?xml version="1.0"?><VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">
<RESOURCE type="results"><INFO name="QUERY_STATUS" value="ERROR">Table II/999 does not exist</INFO></RESOURCE></VOTABLE>
"""


def known(n: int, *, seed: int = 0) -> Table:
    """Objects that the services know, around ra 150, dec 2; the first without type and redshift."""
    random = np.random.default_rng(seed)
    names = [f"NGC {each}" for each in range(n)]
    mask = np.arange(n) == 0
    return Table(
        {
            "name": names,
            "ra": 150 + random.uniform(-0.2, 0.8, n),
            "dec": 2 - random.uniform(-0.2, 0.8, n),
            "type": MaskedColumn(["Galaxy" if each % 3 else "QSO" for each in range(n)], mask=mask),
            "redshift": MaskedColumn(random.uniform(0, 0.5, n), mask=mask, unit="km/s", description="of the lines"),
        }
    )


class Server:
    """Answers from a table, counts requests, and asks `fault` of each request's number what to do wrong."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.fault: Callable[[int], str] = lambda number: ""
        self.n_requests = self.at_once = self.most_at_once = 0
        self.asked: list[int] = []  # positions, by request
        self.most_rows = 10**9
        self.on_request: Callable[[int], None] = lambda number: None
        self.lock = threading.Lock()
        self.url = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Loopback"

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self.answer(405, b"a form must be posted")

    def do_POST(self) -> None:
        state, body = self.server.state, self.rfile.read(int(self.headers["Content-Length"]))
        with state.lock:
            state.n_requests += 1
            state.at_once += 1
            state.most_at_once = max(state.most_at_once, state.at_once)
            number = state.n_requests
        try:
            state.on_request(number)
            fault = state.fault(number)
            if self.path.startswith("/moved"):
                self.answer(301, b"", Location=self.path.removeprefix("/moved"))
                return
            rows = self.xmatch(body) if self.path == "/xmatch/api/v1/sync" else self.tap(body)
            self.give(rows, fault)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with state.lock:
                state.at_once -= 1

    def answer(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def give(self, rows: Table, fault: str) -> None:
        state = self.server.state
        is_cut = len(rows) > state.most_rows
        content = as_votable(rows[: state.most_rows], "OVERFLOW" if is_cut else "OK")
        if fault == "page":
            self.answer(200, PAGE)
        elif fault == "says error":
            self.answer(200, SAYS_ERROR)
        elif fault == "short":
            self.answer(200, content[: len(content) // 2])
        elif fault == "cut":
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.close_connection = True
        elif fault:
            status, _, wait = fault.partition(" ")
            self.answer(int(status), SAYS_ERROR if status == "400" else PAGE, **({"Retry_After": wait} if wait else {}))
        else:
            self.answer(200, content)

    def xmatch(self, body: bytes) -> Table:
        """CDS: positions as a CSV file in a form; all pairs within the radius come back."""
        text = b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n" + body
        parts = email.message_from_bytes(text, policy=email.policy.HTTP).iter_parts()
        form = {part.get_param("name", header="content-disposition"): part.get_content() for part in parts}
        assert form["request"] == "xmatch"
        assert form["RESPONSEFORMAT"] == "votable"
        assert form["selection"] == "all"
        assert form["cat2"] in ("simbad", "vizier:II/246/out")
        upload = form["cat1"].decode() if isinstance(form["cat1"], bytes) else form["cat1"]
        ours = Table.read(upload.splitlines(), format="ascii.csv")
        ra, dec = np.asarray(ours[form["colRA1"]], float), np.asarray(ours[form["colDec1"]], float)
        place, row, separation = self.within(ra, dec, float(form["distMaxArcsec"]))
        rows = Table({"angDist": np.round(separation, 6) * units.arcsec})
        for name in ours.colnames:
            rows[name] = ours[name][place]
        theirs = self.server.state.table[row]
        names = {"name": "main_id", "type": "main_type"} if form["cat2"] == "simbad" else {"name": "designation"}
        for name in ("name", "ra", "dec", "redshift", *(["type"] if "type" in names else [])):
            rows[names.get(name, name)] = theirs[name]
        if "designation" in rows.colnames:
            rows["designation"].meta["says"] = "meta.id;meta.main"
        for name, value in getattr(self.server.state, "lies", {}).items():
            rows[name][0] = value
        return rows

    def tap(self, body: bytes) -> Table:
        """NED: a query of cones joined by OR; each row that is in one of them comes back once."""
        form = {name: value[0] for name, value in parse_qs(body.decode(), strict_parsing=True).items()}
        assert (form["REQUEST"], form["LANG"], form["FORMAT"]) == ("doQuery", "ADQL", "votable")
        head, _, conditions = form["QUERY"].partition(" WHERE ")
        assert head == "SELECT * FROM NEDTAP.objdir"
        number = r"(-?[\d.]+)"
        pattern = rf"CONTAINS\(POINT\('J2000',ra,dec\),CIRCLE\('J2000',{number},{number},{number}\)\)=1"
        cones = [re.fullmatch(pattern, each).groups() for each in conditions.split(" OR ")]
        ra, dec, radius = np.array(cones, float).T
        _, row, _ = self.within(ra, dec, radius[0] * 3600)
        theirs = self.server.state.table[np.unique(row)]
        return Table(
            {
                "prefname": theirs["name"],
                "ra": theirs["ra"] * units.deg,
                "dec": theirs["dec"] * units.deg,
                "z": theirs["redshift"],
                "prefphytype": theirs["type"],
            }
        )

    def within(self, ra: np.ndarray, dec: np.ndarray, radius_arcsec: float) -> tuple:
        state = self.server.state
        with state.lock:
            state.asked.append(len(ra))
        ours, theirs = SkyCoord(ra, dec, unit="deg"), SkyCoord(state.table["ra"], state.table["dec"], unit="deg")
        place, row, separation, _ = theirs.search_around_sky(ours, radius_arcsec * units.arcsec)
        return place, row, separation.arcsec


def as_votable(rows: Table, status: str) -> bytes:
    whole = votable.from_table(rows)
    for field in whole.get_first_table().fields:
        field.ucd = rows[field.name].meta.get("says")
    whole.resources[0].infos.append(votable.tree.Info(name="QUERY_STATUS", value=status))
    file = io.BytesIO()
    votable.writeto(whole, file)
    return file.getvalue()


class Loopback(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    state: Server

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is no error; what is wrong with a question is told by pytest."""
        traceback.print_exc()


@contextmanager
def serving(table: Table):
    """A server on 127.0.0.1 that runs while the block does."""
    state = Server(table)
    with Loopback(("127.0.0.1", 0), Handler) as server:
        server.state = state
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
