"""The explorer at many objects: first picture of the map, a full screen of images, memory of the server.

    python benchmarks/explorer.py FOLDER [N_OBJECTS] [--shots]

Makes a small atlas (web/tests/atlas.py) grow to N_OBJECTS, 100,000 unless told, by its own rows under other ids, places
and scores moved a little; serves it and opens it in headless chromium by web/tests/measure.mjs (needs `make web`).
Milliseconds are from the navigation. A folder that holds such an atlas is used as it is. --shots saves what was seen.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from environment import machine_line
from peculiar import Atlas
from peculiar.survey import Table

WEB = Path(__file__).resolve().parents[1] / "web"
SEED_OBJECTS = 2_000
TABLES = ("survey", "scores/main", "rankings/main", "maps/self-supervised", "maps/critic")
ROWS = 8_192


def grown(batches: Iterator[pa.RecordBatch], n: int, random: np.random.Generator) -> Iterator[pa.RecordBatch]:
    """The rows again and again under other ids, to `n` more; numbers moved by a twentieth of their spread."""
    whole = pa.Table.from_batches(list(batches)).combine_chunks()
    first = int(whole["object_id"].to_numpy().max()) + 1
    for start in range(0, n, ROWS):
        places = np.arange(start, min(start + ROWS, n))
        rows = whole.take(pa.array(places % len(whole)))
        columns = {name: rows[name] for name in rows.column_names}
        columns["object_id"] = pa.array(first + places)
        for name, values in columns.items():
            if pa.types.is_floating(values.type) and name not in ("object_id",):
                numbers = values.to_numpy()
                moved = numbers + random.normal(0, 0.05 * np.nanstd(whole[name].to_numpy()), len(numbers))
                columns[name] = pa.array(moved.astype(numbers.dtype))
        if "source" in columns:
            columns["source"] = pa.array([f"grown/{each}" for each in places])
        yield from pa.table(columns, schema=whole.schema).to_batches()


def make(folder: Path, n_objects: int) -> None:
    """The atlas of `n_objects` in `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, WEB / "tests" / "atlas.py", folder, str(SEED_OBJECTS)], check=True)
    for place in TABLES:
        table = Table(folder / "atlas" / place / "table.lance")
        schema, random = table.schema, np.random.default_rng(0)
        batches = (each for each in grown(table.scan(), n_objects - SEED_OBJECTS, random))
        table.append_in_commits(batches, schema, n_rows=2**17)
        print(f"{place}: {len(table):,}", flush=True)


def timed(url: str) -> tuple[float, int]:
    """Seconds and bytes of an answer, the second time."""
    for _ in range(2):
        began = time.perf_counter()
        with urllib.request.urlopen(url) as answer:
            n_bytes = len(answer.read())
    return time.perf_counter() - began, n_bytes


def peak(pid: int) -> float:
    """Most memory that a process held, MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(each.split()[1]) for each in lines if each.startswith("VmHWM")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("n_objects", type=int, nargs="?", default=100_000)
    parser.add_argument("--shots", type=Path)
    options = parser.parse_args()
    print(machine_line())
    survey = Table(options.folder / "atlas" / "survey" / "table.lance")
    if len(survey) != options.n_objects:
        make(options.folder, options.n_objects)
    atlas = Atlas(options.folder / "atlas")
    print(f"{len(atlas.survey):,} objects, images of {atlas.survey.form.size} pixels")
    command = [
        Path(sys.executable).parent / "peculiar",
        "explore",
        atlas.folder,
        "--no-browser",
        "--port",
        "0",
        "--read-only",
    ]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = next(part for part in server.stdout.readline().split() if part.startswith("http"))
            print(f"server ready after {time.perf_counter() - began:.1f} s")
            if options.shots:
                options.shots.mkdir(parents=True, exist_ok=True)
            program = ["node", WEB / "tests" / "measure.mjs", url, str(options.shots or "")]
            told = json.loads(subprocess.run(program, check=True, capture_output=True, text=True).stdout)
            print(f"map drawn after {told['map']:,.0f} ms, images of 96 pixels beside it after {told['wall']:,.0f} ms")
            print(f"a wall of 32 pixels after {told['wall_32']:,.0f} ms, of 16 pixels after {told['wall_16']:,.0f} ms")
            print(f"a frame of the map while zooming {told['frame']:,.0f} ms")
            for what, path in {
                "ids": "columns/object_id",
                "a column": "columns/map_x_critic",
                "an order": "rows?" + urllib.parse.urlencode({"by": "score_disc", "where": "magnitude < 22"}),
            }.items():
                seconds, n_bytes = timed(f"{url}api/{path}")
                print(f"{what}: {1000 * seconds:,.0f} ms, {n_bytes / 1e6:.1f} MB")
            print(f"server's peak memory {peak(server.pid):,.0f} MiB")
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
