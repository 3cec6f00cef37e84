"""A chosen sample as a site of its own: files that any web host serves, or a browser opens from a disk.

Every file of data is a script that hands over one text, as a page from a disk may load scripts and nothing else.
"""

import base64
import io
import json
import shutil
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from peculiar.explorer.evidence import Evidence
from peculiar.explorer.opened import Opened, Order
from peculiar.explorer.sheets import JPEG_QUALITY, Look, Part, pictures
from peculiar.feature_set import FeatureSet, default_features, take_vectors
from peculiar.run import Track, quiet, write_json

STATIC = Path(__file__).parent / "static"
MARK = "peculiar-site.json"  # the folder is ours, and may be written anew
MOST_OBJECTS = 20_000
OBJECTS_A_FILE, IMAGES_A_FILE = 200, 100
SIDE = 128  # pixels; larger images are published at this size
N_ALIKE = 16
SCAN_ROWS = 16_384
PARTS: tuple[Part, ...] = ("image", "reconstruction", "residual")
POLICY = (
    "default-src 'none'; script-src 'self' file:; style-src 'self' file:; img-src 'self' file: blob: data:; "
    "worker-src blob:; connect-src blob:"
)
PAGE = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta http-equiv="Content-Security-Policy" content="{policy}">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="dark light">
    <link rel="icon" href="./icon.svg" type="image/svg+xml">
    <link rel="stylesheet" href="./site.css">
    <title>{title}</title>
  </head>
  <body>
    <div id="app"></div>
    <script src="./site.js" defer></script>
  </body>
</html>
"""


def publish(
    folder: Path,
    site: Path,
    *,
    where: str = "",
    by: str = "",
    n: int = 1_000,
    title: str = "",
    ranking: str = "main",
    track: Track = quiet,
) -> int:
    """Write the first objects of an order to the folder `site`, and return how many.

    Parameters
    ----------
    where, by, n
        The `n` largest of the column `by`, the order first shown if empty, of those that pass the filter `where`.
    title
        Of the page; empty: the atlas's name.

    Raises
    ------
    ValueError
        No object passes; too many are asked for; or the folder holds something else.
    """
    if not 1 <= n <= MOST_OBJECTS:
        raise ValueError(f"a site may have from 1 to {MOST_OBJECTS} objects, got {n}")
    if site.exists() and any(site.iterdir()) and not (site / MARK).exists():
        raise ValueError(f"{site} holds something that is no published site; give a new folder")
    opened = Opened(folder, ranking)
    rows = opened.rows(Order(by=by, where=where))[:n]
    if not len(rows):
        raise ValueError(f"no object passes the filter {where!r}")
    begun = site.with_name(f".partial-{site.name}")
    shutil.rmtree(begun, ignore_errors=True)
    (begun / "data").mkdir(parents=True)
    _Site(opened, np.sort(rows).astype(np.int64), begun, title, track).write()
    write_json(
        begun / MARK, {"title": title, "n_objects": len(rows), "where": where, "by": by, "digest": opened.digest}
    )
    shutil.rmtree(site, ignore_errors=True)
    begun.replace(site)
    return len(rows)


class _Site:
    """The files of one site; `rows` are those of the sample, ascending."""

    def __init__(self, opened: Opened, rows: np.ndarray, home: Path, title: str, track: Track) -> None:
        self.opened, self.rows, self.home, self.track = opened, rows, home, track
        self.object_ids = opened.object_ids[rows]
        self.title = title or opened.folder.resolve().name
        self.side = min(SIDE, opened.ranking.survey.form.size)

    def put(self, name: str, text: str) -> None:
        """One file of data. JSON twice: a text that is a literal, so that no content of it is ever run."""
        content = f"peculiarSite.put({json.dumps(name)}, {json.dumps(text)});\n"
        (self.home / "data" / f"{name}.js").write_text(content, encoding="utf-8")

    def write(self) -> None:
        """All of them, what the page reads first last."""
        for name in ("site.js", "site.css"):
            shutil.copyfile(STATIC / "site" / name, self.home / name)
        shutil.copyfile(STATIC / "icon.svg", self.home / "icon.svg")
        columns = self.columns()
        self.objects()
        for part in PARTS:
            self.images(part)
        contents = {
            "columns": columns,
            "n_objects": len(self.rows),
            "objects_a_file": OBJECTS_A_FILE,
            "images_a_file": IMAGES_A_FILE,
            "image_size": self.side,
            "parts": PARTS,
        }
        self.put("contents", json.dumps(contents))
        told = self.opened.as_json() | {"name": self.title, "n_objects": len(self.rows), "expert": None}
        told |= {"is_read_only": True, "is_blind": False, "classes": []}
        self.put("atlas", json.dumps(told))
        page = PAGE.format(policy=POLICY, title=escape(self.title))
        (self.home / "index.html").write_text(page, encoding="utf-8")

    def columns(self) -> dict[str, str]:
        """A file for each column that is drawn; their names may be anything, so files are numbered."""
        import pyarrow as pa

        names = ["object_id", *(each.name for each in self.opened.columns if each.kind != "text")]
        with self.track("writing columns", len(names)) as advance:
            for place, name in enumerate(names):
                sink = pa.BufferOutputStream()
                part = self.opened.arrow(name).take(pa.array(self.rows)).combine_chunks()
                with pa.ipc.new_stream(sink, part.schema) as writer:
                    writer.write_table(part)
                self.put(f"column-{place}", base64.b64encode(sink.getvalue()).decode())
                advance(1)
        return {name: f"column-{place}" for place, name in enumerate(names)}

    def objects(self) -> None:
        """The evidence on each, and what of the sample is most like it."""
        evidence, alike = Evidence(self.opened), self._alike()
        with self.track("writing objects", len(self.rows)) as advance:
            for start in range(0, len(self.rows), OBJECTS_A_FILE):
                ids, number = self.object_ids[start : start + OBJECTS_A_FILE], start // OBJECTS_A_FILE
                told = [each | {"votes": []} for each in evidence.of(ids)]
                self.put(f"objects-{number}", json.dumps(told))
                self.put(f"neighbors-{number}", json.dumps([alike.get(each, []) for each in ids.tolist()]))
                advance(len(ids))

    def _alike(self) -> dict[int, list[dict[str, Any]]]:
        """Of each object those of the sample that are most like it, in the features that are usual."""
        from peculiar.scoring.neighbors import Neighbors, Scale

        if not self.opened.feature_sets:
            return {}
        features = FeatureSet(self.opened.folder, default_features(self.opened.folder))
        ids = self.object_ids[np.isin(self.object_ids, features.table.object_ids())]
        vectors = take_vectors(features.table, ids)
        is_usable = np.isfinite(vectors).all(axis=1)
        ids, vectors = ids[is_usable], vectors[is_usable]
        if len(ids) < 2:
            return {}
        vectors = Scale.of(part for _, part in features.scan(SCAN_ROWS)).standardized(vectors)
        rows, far = Neighbors(vectors).nearest(vectors, N_ALIKE, own_rows=np.arange(len(ids)))
        return {
            object_id: [
                {"object_id": str(other), "distance": distance}
                for other, distance in zip(ids[found].tolist(), distances.tolist(), strict=True)
            ]
            for object_id, found, distances in zip(ids.tolist(), rows, far, strict=True)
        }

    def images(self, part: Part) -> None:
        """JPEG sheets of ten in a row."""
        columns = 10
        with self.track(f"writing {part}s", len(self.rows)) as advance:
            for start in range(0, len(self.rows), IMAGES_A_FILE):
                ids = self.object_ids[start : start + IMAGES_A_FILE]
                whole = Image.new("RGB", (columns * self.side, -(-len(ids) // columns) * self.side))
                for place, picture in enumerate(pictures(self.opened.ranking, ids, Look(part=part))):
                    row, column = divmod(place, columns)
                    small = Image.fromarray(picture).resize((self.side, self.side), Image.Resampling.BOX)
                    whole.paste(small, (column * self.side, row * self.side))
                stream = io.BytesIO()
                whole.save(stream, "JPEG", quality=JPEG_QUALITY, subsampling=0)
                self.put(f"{part}-{start // IMAGES_A_FILE}", base64.b64encode(stream.getvalue()).decode())
                advance(len(ids))
