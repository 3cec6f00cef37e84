"""Compare samples with all objects in any properties, and say what scores are explained by. METHOD.md sect. 5."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from peculiar.joined import Joined, is_id
from peculiar.ranking import columns_of
from peculiar.run import Run, Track, begin, finish, home_of, quiet, save_figure, write_json
from peculiar.survey import hashed

if TYPE_CHECKING:
    from peculiar.catalog.compare import Explained

PAPER = ("r_eff_paper", "ellipticity", "i_blendedness_abs_flux", "aperture_ratio", "g_r", "r_i")  # Fig. 5
POSITION = ("ra", "dec")  # a score that knows where it is finds the survey's seams
MEASURES = ("brightness", "radius", "core", "spread", "background", "noise")
THRESHOLDS = {"i_blendedness_abs_flux": 10**-0.375}  # Storey-Fisher 2021, sect. 4.2
SAMPLES = ("score_disc", "score_gen", "score_anom")
THRESHOLD_SIGMA = 3.0
MAX_PROPERTIES = 12
INDEX = "release_index"  # of an imported release: a row number, no property
N_EXPLAINED = 20_000  # objects, drawn at random, that scores are explained with


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """What `compare` can be told."""

    properties: Annotated[
        tuple[str, ...],
        "columns to compare; empty: those of the paper's Fig. 5 that there are, what was measured on images, a "
        "magnitude, and position",
    ] = ()
    samples: Annotated[
        str, "samples as filters, NAME: FILTER; NAME: FILTER ...; empty: above 3 sigma in each of the three scores"
    ] = ""
    thresholds: Annotated[
        str, "COLUMN > NUMBER; ... whose fractions are told; empty: blendedness above 0.42, where there is one"
    ] = ""
    scores: Annotated[tuple[str, ...], "scores to explain; empty: the first shown, the three, and conditional"] = ()
    of: Annotated[str, "what to compare: rankings/NAME, or catalogs/NAME for an imported release"] = "rankings/main"
    seed: Annotated[int, "seed of the sample that scores are explained with"] = 0


def compare_samples(
    folder: Path, config: CompareConfig, *, name: str = "main", replace: bool = False, track: Track = quiet
) -> Run:
    """Fill `comparisons/<name>`: `compare.html`, its figures, and the tables as CSV and JSON.

    Raises
    ------
    ValueError, KeyError
        A sample or threshold is not written as it must be, is of no object or of all; a property is no number.
    """
    from peculiar.catalog.compare import compare, explain

    objects = columns_of(folder, config.of)
    properties = {each: objects.column(each) for each in config.properties or _usual(objects)}
    samples, thresholds = _samples(objects, config.samples), _thresholds(config.thresholds, properties)
    scores = config.scores or _usual_scores(objects)
    home = home_of(folder, "comparisons", name)
    run = begin(home, "compare", config, inputs={"tables": objects.versions}, replace=replace)
    rows: list[dict[str, Any]] = []
    for each, values in properties.items():
        for sample, is_in in samples.items():
            compared = compare(values, is_in, threshold=thresholds.get(each))
            rows.append({"property": each, "sample": sample, **asdict(compared)})
        everything = compare(values, np.ones(len(values), bool), threshold=thresholds.get(each))
        rows.append({"property": each, "sample": "all", **asdict(everything)})
    drawn = np.argsort(hashed(objects.object_ids, config.seed), kind="stable")[:N_EXPLAINED]
    explained: dict[str, Explained] = {}
    with track("explaining scores", len(scores)) as advance:
        for score in scores:
            others = {each: column[drawn] for each, column in properties.items() if each != score}
            explained[score] = explain(objects.column(score)[drawn], others, seed=config.seed)
            advance(1)
    _write_tables(home, rows, explained)
    _draw(objects, home, properties, samples, thresholds, explained)
    _write_page(objects, home, rows, explained, thresholds)
    n_in = {each: int(is_in.sum()) for each, is_in in samples.items()}
    return finish(home, run, n_objects=len(objects), samples=n_in)


def _usual(objects: Joined) -> tuple[str, ...]:
    known = [each for each in (*PAPER, *MEASURES) if each in objects.numbers]
    if not known:
        return tuple([each for each in objects.numbers if not is_id(each) and each != INDEX][:MAX_PROPERTIES])
    magnitude = next((each for each in objects.numbers if each.endswith("_mag") or each == "magnitude"), "")
    return (*known, *(each for each in (magnitude, *POSITION) if each in objects.numbers))


def _usual_scores(objects: Joined) -> tuple[str, ...]:
    raw = [each for each in SAMPLES if each in objects.numbers]
    raw = raw or [f"{each}_sigma" for each in SAMPLES if f"{each}_sigma" in objects.numbers]  # an imported release's
    forms = [f"{each}_conditional" for each in raw if f"{each}_conditional" in objects.numbers]
    return tuple(dict.fromkeys([objects.first_shown, *raw, *forms]))


def _samples(objects: Joined, text: str) -> dict[str, np.ndarray]:
    """Samples by name: which objects are in them."""
    found: dict[str, np.ndarray] = {}
    written = text or "; ".join(f"{each}: {each}_sigma > {THRESHOLD_SIGMA:g}" for each in SAMPLES)
    for part in filter(None, (each.strip() for each in written.split(";"))):
        name, colon, where = part.partition(":")
        if not colon or not name.strip() or name.strip() in ("all", *found):
            raise ValueError(f"a sample is written NAME: FILTER, each of another name, none of them all; got {part!r}")
        is_in = objects.select(where.strip())
        if is_in.all() or not is_in.any():
            if not text:
                continue
            which = "every object" if is_in.all() else "no object"
            raise ValueError(f"{which} passes the filter of sample {name.strip()}, {where.strip()!r}; take another")
        found[name.strip()] = is_in
    if not found:
        raise ValueError("the usual samples, above 3 sigma in a score, are of all objects or of none; give --samples")
    return found


def _thresholds(text: str, properties: dict[str, np.ndarray]) -> dict[str, float]:
    found = {}
    for part in filter(None, (each.strip() for each in text.split(";"))):
        name, sign, number = (each.strip() for each in part.partition(">"))
        try:
            found[name] = float(number)
        except ValueError:
            sign = ""
        if not sign or name not in properties:
            raise ValueError(f"a threshold is written COLUMN > NUMBER, of a column that is compared, got {part!r}")
    return found if text else {each: value for each, value in THRESHOLDS.items() if each in properties}


def _write_tables(home: Path, rows: list[dict[str, Any]], explained: "dict[str, Explained]") -> None:
    import pyarrow as pa

    from peculiar.io.exports import write_csv

    parts = [
        {"score": score, "property": each, "together": found.together, "alone": found.alone[each]}
        for score, found in explained.items()
        for each in found.alone
    ]
    for stem, content in (("comparison", rows), ("explained", parts)):
        table = pa.Table.from_pylist(content)
        write_csv(home / f"{stem}.csv", table.schema, table.to_batches())
    told = {"compared": rows, "explained": {name: asdict(each) for name, each in explained.items()}}
    write_json(home / "comparison.json", told)


def _draw(
    objects: Joined,
    home: Path,
    properties: dict[str, np.ndarray],
    samples: dict[str, np.ndarray],
    thresholds: dict[str, float],
    explained: "dict[str, Explained]",
) -> None:
    from peculiar.figures.compare import figure_against, figure_comparison, figure_explained

    shown = dict(list(properties.items())[:MAX_PROPERTIES])
    first = objects.first_shown
    save_figure(figure_comparison(shown, samples, thresholds), home / "comparison.png")
    save_figure(figure_against(objects.column(first), shown, score_name=first), home / "against.png")
    parts = {score: (found.together, found.alone) for score, found in explained.items()}
    save_figure(figure_explained(parts), home / "explained.png")


def _write_page(
    objects: Joined,
    home: Path,
    rows: list[dict[str, Any]],
    explained: "dict[str, Explained]",
    thresholds: dict[str, float],
) -> None:
    from peculiar.figures import compare as figures
    from peculiar.io.pages import Picture, Section, Table, write_page

    names = {"property": "property", "sample": "sample", "n": "objects", "n_missing": "without a value"}
    names |= {"median": "median", "low": "16 %", "high": "84 %", "auroc": "larger than others"}
    names |= {"distance": "KS", "p": "p"}
    if thresholds:
        names |= {"above": "part above", "above_others": "of the others"}
    told = "; ".join(f"{name} above {value:g}" for name, value in thresholds.items())
    compared = Table(
        heading="Samples against all others",
        columns=list(names.values()),
        rows=[[row[name] for name in names] for row in rows],
        caption="Larger than others: how often an object of the sample has the larger value; 0.5 is chance. KS: "
        f"Kolmogorov-Smirnov distance of the two distributions. {told}",
    )
    parts = Table(
        heading="What scores are explained by",
        columns=["score", "objects", "together", *next(iter(explained.values())).alone],
        rows=[[score, found.n, found.together, *found.alone.values()] for score, found in explained.items()],
        caption="Part of the variance of a score's ranks that boosted trees predict from all properties together, and "
        "from each alone, for objects that they did not see. 1 is all of it: such a score is another name for these "
        "properties. 0 is nothing; below it they mislead.",
    )
    first = objects.first_shown
    drawn = {
        "comparison": ("Distributions", "histograms of properties", figures.figure_comparison),
        "explained": ("", "bars: parts of scores that are explained", figures.figure_explained),
        "against": (f"{first} against them", f"{first} against properties", figures.figure_against),
    }
    pictures = {
        key: Picture(path=home / f"{key}.png", alt=alt, heading=heading, caption=" ".join(str(draw.__doc__).split()))
        for key, (heading, alt, draw) in drawn.items()
    }
    sections: list[Section] = [compared, pictures["comparison"], parts, pictures["explained"], pictures["against"]]
    title = f"{objects.folder.resolve().name}: what its samples are, and what its scores rank"
    subtitle = "comparison.csv, explained.csv and comparison.json hold the numbers"
    write_page(home / "compare.html", title, sections, subtitle=subtitle)
