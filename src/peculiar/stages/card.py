"""Lay out the evidence on one object: where its scores arise, what is like it, where it stands, what is known of it."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from peculiar.checkpoint import load_pinned
from peculiar.feature_set import FeatureSet, default_features
from peculiar.ranking import Ranking
from peculiar.run import home_of, read_run, save_figure
from peculiar.similar import Similar
from peculiar.survey import Table, hashed

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)
N_BACKGROUND = 20_000  # objects drawn on the map
SCAN_ROWS = 65_536


def make_card(
    folder: Path, object_id: int, *, ranking: str = "main", features: str = "", map: str = "", n: int = 6
) -> Path:
    """The evidence on one object as a page, `cards/<object_id>.html`, which is returned, and its picture, `.png`.

    Both are written anew each time. Scores are taken apart at the stored latent, by the very networks that made them.
    A part that the atlas does not have is left out.

    Parameters
    ----------
    object_id
        Of a ranked object.
    ranking
        Whose scores are shown.
    features
        The feature set that says which objects are like it: the n nearest of all, and the n nearest of the typical,
        those in the half of the reference with the lowest score_anom. Empty: self-supervised, residual, or the only
        one.
    map
        The map that its place is shown on. Empty: self-supervised, residual, or the only one.
    n
        Objects of each kind.

    Raises
    ------
    KeyError
        The object is not in the ranking.
    FileNotFoundError
        The ranking, or the feature set or map that was named, is not complete.
    ValueError
        There are several feature sets or maps and none was named, or the networks' file has changed.
    """
    from peculiar.figures.card import figure_card

    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    opened = Ranking(folder, ranking)
    rows = opened.rows(np.array([object_id], np.int64))
    features = features or default_features(folder)
    map = map or _default_map(sorted(path.parent.name for path in (folder / "maps").glob("*/run.json")))
    alike = _alike(opened, object_id, features, n) if features else []
    card = _card(opened, object_id, rows, alike, map)
    home = folder / "cards"
    home.mkdir(parents=True, exist_ok=True)
    save_figure(figure_card(card), home / f"{object_id}.png")
    _write_page(home / f"{object_id}.html", home / f"{object_id}.png", opened, rows, alike)
    return home / f"{object_id}.html"


def _default_map(there: list[str]) -> str:
    """The map of the name "self-supervised" or "residual", or the only one there is; empty where there is none."""
    for name in ("self-supervised", "residual"):
        if name in there:
            return name
    if len(there) > 1:
        raise ValueError(f"map must be named where there are several; there are {', '.join(there)}")
    return "".join(there)


# What is like it.


@dataclass(frozen=True)
class _Alike:
    """Other objects, the nearest first, and what they are to the one that the card is of."""

    heading: str
    object_id: np.ndarray
    distance: np.ndarray


def _alike(opened: Ranking, object_id: int, features: str, n: int) -> list[_Alike]:
    """The nearest objects, and the nearest typical ones; none where the object has no vector."""
    vector = FeatureSet(opened.folder, features).table.take([object_id], ["vector"], is_complete=False)["vector"]
    if not vector[0].is_valid or not np.isfinite(vector[0].as_py()).all():
        return []
    similar = Similar(opened.folder, features)
    typical = opened.typical()
    return [
        _Alike(f"Most like it in features {features}", *similar.to([object_id], n)),
        _Alike(
            f"Typical ones most like it in features {features}: of the half with the lowest score_anom",
            *similar.to_one_of(object_id, typical, n),
        ),
    ]


# The picture.


def _card(opened: Ranking, object_id: int, rows: "pa.Table", alike: list[_Alike], map: str) -> Any:
    from peculiar.figures.card import Card
    from peculiar.scoring.attribution import at_pixels, largest_shares

    form = opened.survey.form
    image = opened.survey.images([object_id])
    generated, pixels, bands, places, channels = _attributed(opened, object_id, image)
    names = form.bands if len(form.bands) == form.channels else _band_names(form.channels)
    row = rows.to_pylist()[0]
    place, background = _places(opened.folder, map, object_id) if map else (None, None)
    galleries = {
        each.heading: (opened.survey.images(each.object_id), _captions(each)) for each in alike if len(each.object_id)
    }
    return Card(
        heading=str(object_id),
        subheading=_subheading(row, opened),
        image=image[0],
        reconstruction=generated,
        residual=np.abs(image[0].astype(np.int16) - generated).astype(np.uint8),
        gen_map=pixels,
        disc_map=at_pixels(places, form.size),
        foreign_map=foreign_light(opened, image),
        bands=dict(zip(names, bands.tolist(), strict=True)),
        critic_channels=largest_shares(channels),
        scores=opened.percentiles(row, opened.column(opened.first_shown)),
        place=place,
        background=background,
        galleries=galleries,
        row={name: _shown(value) for name, value in row.items() if not name.startswith("score_")},
    )


def _attributed(opened: Ranking, object_id: int, image: np.ndarray) -> tuple[np.ndarray, ...]:
    """The reconstruction as stored, and what each pixel, band, place and channel adds to the scores."""
    from peculiar import engine

    engine.tune()
    import torch

    from peculiar.networks.gan import Critic, Generator
    from peculiar.scoring.attribution import attribute
    from peculiar.scoring.reconstruction import in_batches
    from peculiar.sky.pixels import to_stored

    path, digest = opened.folder / opened.scored.outputs["networks"]["gan"], opened.scored.inputs["gan"]
    generator = load_pinned(path, digest, "generator", Generator)
    critic = load_pinned(path, digest, "critic", Critic)
    machine = engine.machine()
    for network in (generator, critic):
        machine.place(network)
    latent = np.array(opened.facts.take([object_id], ["latent"])["latent"].to_pylist(), np.float32)

    @torch.no_grad()
    def parts(images: torch.Tensor, at: torch.Tensor) -> tuple[torch.Tensor, ...]:
        generated = generator(at)
        return generated, *attribute(images, critic.features(images), generated, critic.features)

    found = in_batches(parts, machine.tensor(image), torch.from_numpy(latent).to(machine.device))
    generated, *rest = (each.cpu().numpy() for each in found)
    return to_stored(generated)[0], *(each[0] for each in rest)


def foreign_light(opened: Ranking, image: np.ndarray) -> np.ndarray | None:
    """The chance that light is foreign at each pixel's place, by the detector; None where there is none.

    It is left out, with a warning, where the detector is no longer the one that features/detector were made by.
    """
    run = read_run(home_of(opened.folder, "features", "detector"))
    if run is None or run.outputs.get("kind") != "detector":
        return None
    from peculiar import engine

    engine.tune()
    import torch

    from peculiar.networks.foreign import Detector

    made_by = run.outputs["provenance"]
    try:
        detector = load_pinned(opened.folder / made_by["network"], made_by["digest"], "detector", Detector)
    except (FileNotFoundError, ValueError):
        log.warning(
            "the detector that made features/detector is gone or another now, and where it sees foreign light is left "
            'out; run "peculiar features %s --name detector --replace"',
            opened.folder,
        )
        return None
    machine = engine.machine()
    machine.place(detector)
    with torch.no_grad():
        places, _ = detector.places(machine.tensor(image))
    chance = torch.nn.functional.interpolate(places.sigmoid()[None], size=image.shape[1:3], mode="nearest")
    found: np.ndarray = chance[0, 0].cpu().numpy()
    return found


def _band_names(n_channels: int) -> tuple[str, ...]:
    return ("red", "green", "blue") if n_channels == 3 else tuple(f"channel {each}" for each in range(n_channels))


def _places(folder: Path, map: str, object_id: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The object's place on a map, and those of a sample of all; nothing where it is not on it."""
    if read_run(home_of(folder, "maps", map)) is None:
        raise FileNotFoundError(f'maps/{map} is not complete in {folder}; run "peculiar map" first')
    table, names = Table(home_of(folder, "maps", map) / "table.lance"), ["map_x", "map_y"]
    mine = table.take([object_id], names, is_complete=False)
    if not mine["map_x"][0].is_valid:
        return None, None
    place = np.array([mine[name][0].as_py() for name in names], np.float64)
    share = min(1.0, N_BACKGROUND / len(table))
    kept = []
    for batch in table.scan(["object_id", *names], batch_size=SCAN_ROWS):
        is_kept = hashed(batch["object_id"].to_numpy(), 6) <= share * (2**64 - 1)
        kept.append(np.stack([batch[name].to_numpy()[is_kept] for name in names], axis=1))
    return place, np.concatenate(kept).astype(np.float64)


def _captions(alike: _Alike) -> list[str]:
    return [f"{each}\n{far:.3g}" for each, far in zip(alike.object_id, alike.distance, strict=True)]


def _subheading(row: dict[str, Any], opened: Ranking) -> str:
    place = "" if row["ra"] is None or row["dec"] is None else f"   ra {row['ra']:.6f}  dec {row['dec']:+.6f}"
    return f"{row['source']}{place}   {opened.home.parent.parent.resolve().name}, ranking {opened.home.name}"


def _shown(value: object) -> str:
    if value is None or value != value:
        return "none"
    return f"{value:.9g}" if isinstance(value, float) else str(value)  # all of a float32; 4 milliarcsec of an ra


# The page.


def _write_page(path: Path, picture: Path, opened: Ranking, rows: "pa.Table", alike: list[_Alike]) -> None:
    """The picture, the same as tables, and links to viewers of the sky."""
    from peculiar.catalog.columns import describe
    from peculiar.catalog.viewers import sky_viewers
    from peculiar.io import pages

    row = rows.to_pylist()[0]
    notes = {field.name: field.metadata or {} for field in describe(rows).schema}
    columns = [
        [name, _shown(row[name]), *(note.get(key, b"").decode() for key in (b"unit", b"description"))]
        for name, note in notes.items()
    ]
    like = [
        [each.heading, *pair]
        for each in alike
        for pair in zip(each.object_id.tolist(), each.distance.tolist(), strict=True)
    ]
    sections: list[pages.Section] = [
        pages.Picture(
            path=picture,
            alt=f"image, reconstruction, residual and scores of object {row['object_id']}",
            caption=f"Percentiles are among the reference, that of {opened.first_shown} among all that are ranked. "
            "Distances are Euclidean, between standardized features.",
        ),
        pages.Table(columns=["column", "value", "unit", "meaning"], rows=columns, heading="All columns"),
    ]
    if like:
        sections.insert(1, pages.Table(columns=["", "object_id", "distance"], rows=like, heading="Like it"))
    pages.write_page(
        path,
        f"Object {row['object_id']}",
        sections,
        subtitle=_subheading(row, opened),
        provenance={
            "reference": opened.run.outputs["reference"],
            **{f"digest of {which}": opened.scored.inputs[which] for which in opened.scored.outputs["networks"]},
            **opened.weights,
        },
        links=sky_viewers(row["ra"], row["dec"]),
        links_label="Sky viewers",
    )
