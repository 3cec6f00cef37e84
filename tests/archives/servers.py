"""Archives on loopback that speak the protocols of the real ones, and fail as told."""

import base64
import email
import email.policy
import io
import json
import re
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import numpy as np
from astropy.io import fits
from PIL import Image

USER, PASSWORD = "galaxy", "s3cret-æ"
PAGE = b"<!DOCTYPE html><html><body>Service unavailable</body></html>"


def flux_of(ra: float, dec: float, size: int, seed: int = 0) -> np.ndarray:
    """A blob that depends on the place, float32."""
    random = np.random.default_rng([int(ra * 1e6), int((dec + 90) * 1e6), seed])
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    light = random.uniform(1, 9) * np.exp(-np.hypot(x, y) / random.uniform(2, 8))
    return (light + random.normal(0, 0.05, (size, size))).astype(np.float32)


def header_of(ra: float, dec: float, size: int, scale: float) -> fits.Header:
    """WCS of a cutout around a place."""
    center = (size + 1) / 2
    return fits.Header(
        {
            "CTYPE1": "RA---TAN",
            "CTYPE2": "DEC--TAN",
            "CRPIX1": center,
            "CRPIX2": center,
            "CRVAL1": ra,
            "CRVAL2": dec,
            "CDELT1": -scale / 3600,
            "CDELT2": scale / 3600,
            "CUNIT1": "deg",
            "CUNIT2": "deg",
        }
    )


def as_bytes(hdus: fits.HDUList) -> bytes:
    file = io.BytesIO()
    hdus.writeto(file)
    return file.getvalue()


class Server:
    """An archive: answers, counts requests and full answers by key, and asks `fault` what to do wrong.

    `fault(key, n)` is called with the key of what is asked for, and how often it was asked for before.
    """

    def __init__(self) -> None:
        self.fault: Callable[[str, int], str] = lambda key, n: ""
        self.asked: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.n_requests = 0
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()
        self.url = ""
        self.at_once = self.most_at_once = 0
        self.on_request: Callable[[int], None] = lambda n: None
        self.jobs: dict[int, dict] = {}
        self.table = b"object_id,ra,dec\n" + b"".join(b"%d,150.1,2.2\n" % each for each in range(40_000))
        self.has_ranges = True

    def told(self, key: str) -> str:
        with self.lock:
            fault = self.fault(key, self.asked[key])
            self.asked[key] += 1
            if fault:
                self.faults[key] += 1
        return fault


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Loopback"

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self.work(b"")

    def do_POST(self) -> None:
        self.work(self.rfile.read(int(self.headers["Content-Length"])))

    def work(self, body: bytes) -> None:
        state = self.server.state
        with state.lock:
            state.n_requests += 1
            state.at_once += 1
            state.most_at_once = max(state.most_at_once, state.at_once)
            state.headers.append(dict(self.headers))
        try:
            state.on_request(state.n_requests)
            self.route(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with state.lock:
                state.at_once -= 1

    def route(self, body: bytes) -> None:
        parts = urlsplit(self.path)
        given = {key: value[0] for key, value in parse_qs(parts.query).items()}
        if parts.path.startswith("/das_cutout/"):
            self.das(body)
        elif parts.path.startswith("/viewer/"):
            self.viewer(parts.path, given)
        elif parts.path.endswith("/hips2fits"):
            self.hips(given)
        elif parts.path.startswith("/datasearch/api/catalog_jobs/"):
            self.job(parts.path.rsplit("/", 1)[-1], json.loads(body))
        else:
            self.answer(404, b"no such path")

    def answer(self, status: int, content: bytes, kind: str = "application/octet-stream", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def failed(self, fault: str, content: bytes = b"x" * 9_000) -> bool:
        """Do wrong as told; whether there is nothing more to do."""
        if fault.isdecimal():
            self.answer(int(fault), PAGE if fault == "500" else b"no", "text/html", WWW_Authenticate="Basic")
        elif fault.startswith("429"):
            self.answer(429, b"slow down", Retry_After=fault.split()[1] if " " in fault else "0")
        elif fault == "page":
            self.answer(200, PAGE, "text/html")
        elif fault == "cut":
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.close_connection = True
        elif fault == "slow":
            time.sleep(2.5)
            self.answer(200, b"late")
        elif fault == "short":
            self.answer(200, content[: len(content) // 2])
        else:
            return False
        return True

    def give(self, key: str, fault: str, content: bytes) -> None:
        if not self.failed(fault, content):
            self.answer(200, content)
            if not fault:
                with self.server.state.lock:
                    self.server.state.sent[key] += 1

    # --- the protocols

    def is_known(self) -> bool:
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        return base64.b64decode(given).decode() == f"{USER}:{PASSWORD}"

    def das(self, body: bytes) -> None:
        """HSC's cutout service: a list in the field `list`, a tar back."""
        state = self.server.state
        if not self.is_known():
            self.answer(401, b"who are you", WWW_Authenticate="Basic")
            return
        text = b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n" + body
        (part,) = email.message_from_bytes(text, policy=email.policy.HTTP).iter_parts()
        assert 'name="list"' in part["Content-Disposition"]
        first, *rows = part.get_payload(decode=True).decode().splitlines()
        assert first.startswith("#? rerun filter ra dec sw sh")
        assert 0 < len(rows) <= 1_000
        whole = state.told("request")
        members, sent = [], []
        for number, row in enumerate(rows, 2):
            rerun, band, ra, dec, width, height = row.split("#")[0].split()
            name = row.split("#")[1].strip()
            assert re.fullmatch(r"pdr[23]_(wide|dud)", rerun)
            assert width == height
            half = float(width.removesuffix("asec"))
            key = f"{name}_{band}"
            fault = state.told(key)
            if fault == "absent":
                continue
            side = 87 if fault == "odd" else round(2 * half / 0.168) + 1
            place = (float(ra) + (0.01 if fault == "elsewhere" else 0), float(dec))
            image = fits.ImageHDU(flux_of(*place, side, ord(band[-1])), header_of(*place, side, 0.168))
            content = as_bytes(fits.HDUList([fits.PrimaryHDU(), image]))
            shown = "HSC-Y" if fault == "mislabelled" else band
            content = content[:7_000] if fault == "short" else content
            members.append((f"arch-261122-101500/{number}-cutout-{shown}-9813-{rerun}.fits", content))
            sent += [key] * (not fault)
        if whole == "disorder":
            members.reverse()
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as tar:
            for name, content in members:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        if whole == "unended":  # ends behind a member, as if it were all
            content = file.getvalue().rstrip(b"\0")
            self.answer(200, content + bytes(-len(content) % 512))
        elif not self.failed(whole, file.getvalue()):
            self.answer(200, file.getvalue(), "application/x-tar")
        if whole in ("", "disorder"):
            with state.lock:
                state.sent.update(sent)

    def viewer(self, path: str, given: dict[str, str]) -> None:
        """The Legacy Survey's viewer."""
        state = self.server.state
        ra, dec, size = float(given["ra"]), float(given["dec"]), int(given["size"])
        key = f"{ra:.6f}"
        fault = state.told(key)
        side = 50 if fault == "odd" else size
        if path == "/viewer/jpeg-cutout":
            file = io.BytesIO()
            pixels = np.clip(flux_of(ra, dec, side) * 25, 0, 255).astype(np.uint8)
            Image.fromarray(np.stack([pixels] * 3, -1) * (fault != "blank")).save(file, "JPEG")
            self.give(key, fault, file.getvalue())
            return
        assert path == "/viewer/fits-cutout"
        bands = given["bands"].replace("z", "") if fault == "noband" else given["bands"]
        cube = np.stack([flux_of(ra, dec, side, ord(band)) for band in bands]) * (fault != "blank")
        if fault == "emptyband":
            cube[0] = 0
        header = header_of(ra, dec, side, float(given["pixscale"]))
        header["BANDS"] = bands
        self.give(key, fault, as_bytes(fits.HDUList([fits.PrimaryHDU(np.float32(cube), header)])))

    def hips(self, given: dict[str, str]) -> None:
        """hips2fits."""
        ra, dec, size = float(given["ra"]), float(given["dec"]), int(given["width"])
        assert given["width"] == given["height"]
        key = f"{ra:.6f} {given['hips']}"
        fault = self.server.state.told(key)
        if given["format"] != "fits":
            file = io.BytesIO()
            pixels = np.clip(flux_of(ra, dec, size) * 25, 0, 255).astype(np.uint8)
            Image.fromarray(np.stack([pixels] * 3, -1)).save(file, {"jpg": "JPEG", "png": "PNG"}[given["format"]])
            self.give(key, fault, file.getvalue())
            return
        flux = flux_of(ra, dec, size, len(given["hips"])) + (np.nan if fault == "blank" else 0)
        header = header_of(ra, dec, size, float(given["fov"]) * 3600 / size)
        self.give(key, fault, as_bytes(fits.HDUList([fits.PrimaryHDU(np.float32(flux), header)])))

    def job(self, what: str, message: dict) -> None:
        """HSC's catalog service."""
        state = self.server.state
        fault = state.told(what)
        if message["credential"] != {"account_name": USER, "password": PASSWORD}:
            self.answer(401, b"who are you")
            return
        assert "clientVersion" in message
        if self.failed(fault, state.table):
            return
        answer: dict = {}
        if what == "submit":
            asked = message["catalog_job"]
            assert asked["out_format"] in ("csv", "csv.gz", "fits")
            if "SELECT" not in asked["sql"]:
                self.answer(406, f"syntax error; {PASSWORD}".encode())
                return
            with state.lock:
                answer = {"id": len(state.jobs) + 1, "status": "waiting"}
                state.jobs[answer["id"]] = {**asked, "polls": 0}
        elif what == "status":
            job = state.jobs[message["id"]]
            job["polls"] += 1
            answer = {"id": message["id"], "status": "done" if job["polls"] > 2 else "running"}
            if fault == "error":
                answer = {"id": message["id"], "status": "error", "error": "column f1.nothing does not exist"}
        elif what == "delete":
            state.jobs[message["id"]]["deleted"] = True
        elif what == "download":
            begin = int((self.headers.get("Range") or "bytes=0-").split("=")[1].split("-")[0])
            if begin and state.has_ranges:
                end = len(state.table)
                self.answer(206, state.table[begin:], Content_Range=f"bytes {begin}-{end - 1}/{end}")
            else:
                self.answer(200, state.table)
            return
        self.answer(200, json.dumps(answer).encode(), "application/json")


class Loopback(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    state: Server

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is no error."""


@contextmanager
def serving():
    """A server on 127.0.0.1 that runs while the block does."""
    state = Server()
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


def write_table(path, n: int, *, has_ids: bool = True, first: int = 43_158_859_342_174_406) -> list[int]:
    """A CSV of objects; their ids."""
    ids = list(range(first, first + n))
    lines = ["object_id,ra,dec,magnitude" if has_ids else "ra,dec"]
    for place, object_id in enumerate(ids):
        where = f"{150 + place / 1000:.6f},{2 + place / 3000:.6f}"
        lines.append(f"{object_id},{where},{20 + place / 1e4}" if has_ids else where)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return ids
