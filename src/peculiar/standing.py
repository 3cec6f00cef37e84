"""Where every stage of an atlas stands: absent, interrupted, complete, behind or stale."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from peculiar.checkpoint import TrainingFolder, file_digest
from peculiar.labels import Labels
from peculiar.ranking import columns_of
from peculiar.run import Run, home_of, read_run, read_started
from peculiar.survey import Survey, Table

# Folders of products, and the stage that first fills one; those of the first part are shown even where they are absent.
MAIN_JOB = {"networks": "train-gan", "scores": "score", "rankings": "rank", "release": "release"}
CHARACTERIZE = {
    "features": "features",
    "forests": "forest",
    "neighbors": "neighbors",
    "labels": "label",
    "catalogs": "import-release",
    "groups": "group",
    "derived": "derive",
    "masks": "mask",
    "crossmatches": "crossmatch",
    "products": "export",
    "bundles": "bundle",
    "classifications": "classify",
    "spectra": "lines",
    "follow-up": "follow-up",
    "interest": "learn",
    "indices": "index",
    "maps": "map",
    "clusters": "cluster",
    "portraits": "portray",
    "bench": "bench",
    "comparisons": "compare",
    "experts": "simulate-expert",
    "injections": "inject",
}
# The networks that a stage reads, by their names in its inputs and in its config.
NETWORKS = {
    "train-encoder": {"gan": "gan"},
    "score": {"gan": "gan", "encoder": "encoder"},
    "features": {"network": "network"},
}
# The folder whose objects a stage's table follows, by its config.
FOLLOWED: dict[str, Callable[[dict[str, Any]], str]] = {
    "score": lambda config: "survey",
    "rank": lambda config: f"scores/{config['scores']}",
    "relate": lambda config: config["of"],
    "join": lambda config: f"rankings/{config['ranking']}",
    "features": lambda config: "survey",
    "forest": lambda config: f"features/{config['features']}",
    "neighbors": lambda config: f"features/{config['features']}",
    "learn": lambda config: f"features/{config['features']}",
    "index": lambda config: f"features/{config['features']}",
    "map": lambda config: {"pixels": "survey", "residual-pixels": f"scores/{config['ranking']}"}.get(
        config["of"], f"features/{config['of']}"
    ),
    "cluster": lambda config: config["of"],
    "group": lambda config: config["of"],
    "derive": lambda config: config["of"],
    "mask": lambda config: config["of"],
    "crossmatch": lambda config: config["of"],
}


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where one stage's folder stands; behind: objects are to come; stale: what it read has changed."""

    stage: str
    folder: str
    state: Literal["absent", "interrupted", "complete", "behind", "stale"]
    detail: str = ""


def standings(folder: Path) -> list[Standing]:
    """Every folder that a stage fills, in the order of the work."""
    survey, quarantine = Survey(folder / "survey" / "table.lance"), Table(folder / "survey" / "quarantine.lance")
    found = [_standing(folder, "ingest", "survey", f"{len(survey)} objects, {len(quarantine)} in quarantine")]
    for parent, stage in {**MAIN_JOB, **CHARACTERIZE}.items():
        homes = sorted(path for path in (folder / parent).glob("*") if path.is_dir())
        found += [_standing(folder, stage, f"{parent}/{home.name}") for home in homes]
        if not homes and parent in MAIN_JOB:
            found.append(Standing(stage=stage, folder=parent, state="absent"))
    return found


def _standing(folder: Path, stage: str, place: str, detail: str = "") -> Standing:
    home = folder / place
    run, started = read_run(home), read_started(home)
    if run is None:
        state: Literal["absent", "interrupted"] = "absent" if started is None else "interrupted"
        return Standing(stage=stage if started is None else started.stage, folder=place, state=state, detail=detail)
    changed = _changed_input(folder, run)
    if changed:
        return Standing(stage=run.stage, folder=place, state="stale", detail=changed)
    n_to_come, n_objects = _to_come(folder, home, run)
    if n_to_come > 0:
        detail = f"{n_to_come} of {n_objects} objects to come"
        return Standing(stage=run.stage, folder=place, state="behind", detail=detail)
    return Standing(
        stage=run.stage, folder=place, state="complete", detail=detail or run.finished[:16].replace("T", " ")
    )


def _to_come(folder: Path, home: Path, run: Run) -> tuple[int, int]:
    """Objects that the stage's table is to have and has not, and how many it is to have."""
    if run.stage not in FOLLOWED:
        return 0, 0
    n_objects = _n_expected(folder, run)
    return n_objects - len(Table(home / "table.lance")), n_objects


def _n_expected(folder: Path, run: Run | None) -> int:
    """Objects of the survey, but those that the stage, or one that it follows, had to leave out."""
    if run is not None and run.stage == "import-release":
        return int(run.outputs["n_objects"])
    if run is None or run.stage not in FOLLOWED:
        return len(Table(folder / "survey" / "table.lance"))
    n_left_out = sum(run.outputs.get(name, 0) for name in ("n_missing", "n_without_vector"))
    return _n_expected(folder, read_run(folder / FOLLOWED[run.stage](run.config))) - n_left_out


def _changed_input(folder: Path, run: Run) -> str:
    """What the stage read, or what that was made of, and is no longer what it was; empty if nothing."""
    for place, identity in run.reads.items():
        source = read_run(folder / place)
        if source is None:
            if read_started(folder / place) is None:
                return f"{place} is gone"
            continue  # it is being added to
        if source.identity != identity:
            return f"{place} was replaced since"
        if changed := _changed_input(folder, source):
            return changed
    if "tables" in run.inputs:
        return _changed_table(folder, run)
    if n_since := Labels(folder).last_event() - run.inputs["last_event"] if "last_event" in run.inputs else 0:
        return f"{n_since} labels were given or taken back since"
    for path, digest in run.inputs.get("files", {}).items() if run.stage == "mask" else ():
        if not Path(path).is_file():
            return f"{path} is gone"
        if file_digest(Path(path)) != digest:
            return f"{path} has changed since"
    own = NETWORKS.get(run.stage, {}) if run.config.get("source") != "pretrained" else {}  # that is no folder of ours
    for which, config in own.items():
        if (
            which in run.inputs
            and run.config.get("source") != "pretrained"
            and (changed := _changed_network(folder, run, which, config))
        ):
            return changed
    return ""


def _changed_table(folder: Path, run: Run) -> str:
    """Which table that a product was made of has changed, or has come since."""
    try:
        place = run.config["of"] if "of" in run.config else f"rankings/{run.config['ranking']}"
        versions = columns_of(folder, place).versions
    except FileNotFoundError:
        return ""  # it is being added to
    for place, version in versions.items():
        if run.inputs["tables"].get(place) != version:
            return f"{Path(place).parent} has {'changed' if place in run.inputs['tables'] else 'come'} since"
    return ""


def _changed_network(folder: Path, run: Run, which: str, config: str) -> str:
    name = run.config[config]
    step = run.config["checkpoint"] if which != "encoder" else 0
    try:
        path = TrainingFolder(home_of(folder, "networks", name)).checkpoint_path(step)
    except FileNotFoundError as error:
        return str(error)
    return f"networks/{name} was trained on since" if file_digest(path) != run.inputs[which] else ""
