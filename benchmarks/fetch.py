"""Fetch 5,000 cutouts from a server on loopback with 5 % faults, killed three times: what was asked for, and how often.

python benchmarks/fetch.py [N]
"""

import csv
import os
import runpy
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).parents[1]
local = SimpleNamespace(**runpy.run_path(str(ROOT / "tests" / "archives" / "servers.py")))
FAULTS = ("500", "cut", "page", "429", "404", "odd", "blank", "short")
LASTING = {"404", "odd", "blank"}
N_REQUESTS, N_KILLS, EVERY, BANDS = 4, 3, 20, 3  # one in 20 is 5 %


def fetch_with_kills(server, command: list[str], kills: list[int]) -> float:
    """Run the command, kill it at these numbers of requests, and let the last run end; seconds."""
    begun = time.monotonic()
    for kill in kills:
        is_time = threading.Event()
        server.on_request = lambda n, kill=kill, is_time=is_time: is_time.set() if n >= kill else None
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            is_time.wait(3_600)
            process.kill()
        print(f"  killed at request {server.n_requests}")
    server.on_request = lambda n: None
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (0, 3), done.stderr
    print("  " + done.stderr.strip().splitlines()[-1])
    return time.monotonic() - begun


def legacysurvey(n: int, home: Path) -> None:
    """One request a cutout; every eighth kind of fault is told to one object in 20."""
    kind_of = {f"{150 + place / 1000:.6f}": FAULTS[place // EVERY % len(FAULTS)] for place in range(7, n, EVERY)}
    with local.serving() as server:
        server.fault = lambda key, n: "" if n and kind_of.get(key) not in LASTING else kind_of.get(key, "")
        command = [*PECULIAR, "legacysurvey", home / "table.csv", home / "legacysurvey", "--base-url", server.url]
        command = [*map(str, command), "--size", "64", "--backoff-seconds", "0.05", "--n-requests", str(N_REQUESTS)]
        seconds = fetch_with_kills(server, command, [n * each // 4 for each in (1, 2, 3)])
        report(home / "legacysurvey", seconds, server.n_requests)
        lasting = sum(each in LASTING for each in kind_of.values())
        needed = n + len(kind_of) - lasting
        print(f"  {len(kind_of)} objects at fault, {lasting} of them for good")
        print(f"  requests needed: {n} + {len(kind_of) - lasting} for faults that pass = {needed}")
        print(f"  repeated for {N_KILLS} kills: {server.n_requests - needed} (at most {N_KILLS * N_REQUESTS})")
        assert 0 <= server.n_requests - needed <= N_KILLS * N_REQUESTS
        assert max(server.sent.values()) <= 1 + N_KILLS


def hsc(n: int, home: Path) -> None:
    """Lists of rows, tars back: faults of rows and of whole replies."""
    with local.serving() as server:
        rows = {7: "absent", 27: "odd"}  # of every 40 objects: 5 %

        def fault(key: str, n: int) -> str:
            if key == "request":
                return {3: "500", 7: "cut", 11: "short"}.get(n, "")
            place = int(key.split("_")[0]) - FIRST
            return rows.get(place % 40, "") if key.endswith("HSC-R") else ""

        server.fault = fault
        command = [*PECULIAR, "hsc", home / "table.csv", home / "hsc", "--base-url", server.url, "--rows", "150"]
        command = [*map(str, command), "--size-arcsec", "8", "--backoff-seconds", "0.05"]
        n_lists = -(-n // 50)
        seconds = fetch_with_kills(server, command, [n_lists * each // 4 for each in (1, 2, 3)])
        report(home / "hsc", seconds, server.n_requests)
        print(f"  rows sent: {sum(server.asked.values()) - server.asked['request']} for {n * BANDS}")
        repeated = sum(server.sent.values()) - len(server.sent)
        print(f"  cutouts sent twice for {N_KILLS} kills: {repeated} (at most {N_KILLS * N_REQUESTS * 150})")
        assert repeated <= N_KILLS * N_REQUESTS * 150


def report(folder: Path, seconds: float, n_requests: int) -> None:
    """What stands in the folder."""
    n_files = sum(1 for each in folder.glob("??/*.fits"))
    with (folder / "failures.csv").open() as stream:
        reasons = Counter(row["reason"] for row in csv.DictReader(stream))
    print(f"  {n_files} files in place, {reasons.total()} failures explained, {n_requests} requests, {seconds:.0f} s")
    for reason, number in sorted(reasons.items()):
        print(f"    {number:4d} {reason}")


if __name__ == "__main__":
    os.environ |= {
        "NO_PROXY": "127.0.0.1",
        "HSC_SSP_CAS_USER": local.USER,
        "HSC_SSP_CAS_PASSWORD": local.PASSWORD,
    }
    PECULIAR = [sys.executable, "-c", "from peculiar.cli import main; main()", "fetch"]
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        FIRST = local.write_table(home / "table.csv", n)[0]
        for archive in (legacysurvey, hsc):
            print(archive.__name__)
            archive(n, home)
