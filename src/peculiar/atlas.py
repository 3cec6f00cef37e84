"""The Python face of an atlas: one folder, its stages, its tables, its pictures."""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from peculiar.feature_set import FeatureSet, default_features, feature_sets
from peculiar.labels import Labels
from peculiar.ranking import Ranking
from peculiar.run import Run, Track, begin, finish, home_of, quiet, read_run, recorded_config
from peculiar.stages.ingest import IngestConfig
from peculiar.standing import Standing, standings
from peculiar.survey import Survey, Table

if TYPE_CHECKING:
    import astropy.table
    import pyarrow as pa
    from matplotlib.figure import Figure

    from peculiar.explorer import Explored
    from peculiar.similar import Similar
    from peculiar.stages.check import Finding
    from peculiar.stages.import_labels import Imported

log = logging.getLogger(__name__)
PAPER_IMAGES = 50_000  # fewer do not feed the paper's networks; MEASURED.md: 500 images, no fine structure
Preset = Literal["auto", "paper", "small"]
_AUTOENCODED: tuple[Literal["residual", "image"], ...] = ("residual", "image")
ObjectIds = Sequence[int | str] | np.ndarray


class Atlas:
    """One survey's folder.

    Parameters
    ----------
    folder
        Made by the first stage that writes to it.
    track
        Follows long loops; the command line passes a progress bar.

    Examples
    --------
    >>> atlas = peculiar.Atlas("my-atlas")  # doctest: +SKIP
    >>> atlas.run(images="cutouts/")  # doctest: +SKIP
    >>> atlas.top(25)  # doctest: +SKIP
    """

    def __init__(self, folder: str | Path, *, track: Track = quiet) -> None:
        self.folder, self.track = Path(folder), track
        self._open_for_search: dict[tuple[str | int, ...], Similar] = {}

    def __repr__(self) -> str:
        return f"Atlas({str(self.folder)!r}, {len(self.survey)} objects)"

    # Stages. Options that are not given are those that the folder was begun with, or the preset's.

    def ingest(self, images: str | Path | None = None, *, replace: bool = False, **options: Any) -> Run:
        """Read images, and a catalog, into the survey. See `IngestConfig`; `Run.outputs` counts what came."""
        from peculiar.stages.ingest import ingest

        if images is not None:
            options["images"] = images
        config = self._config(self.folder / "survey", IngestConfig(), options, replace)
        return ingest(self.folder, config, replace=replace, track=self.track)

    def add_columns(self, table: str | Path, **options: Any) -> Run:
        """Join the columns of a table to the survey. See `AddColumnsConfig` for options."""
        from peculiar.stages.add_columns import AddColumnsConfig, add_columns

        return add_columns(self.folder, AddColumnsConfig(table=Path(table), **options), track=self.track)

    def derive(self, *, name: str = "main", replace: bool = False, **options: Any) -> Run:
        """Make sizes, shapes, colors and columns of one's own from the survey's columns. See `DeriveConfig`."""
        from peculiar.stages.derive import DeriveConfig, derive

        config = self._config(home_of(self.folder, "derived", name), DeriveConfig(), options, replace)
        return derive(self.folder, config, name=name, replace=replace, track=self.track)

    def train_gan(
        self, *, preset: Preset | None = None, name: str = "gan", replace: bool = False, **options: Any
    ) -> Run:
        """Train generator and critic. See `TrainGanConfig` for options, `choose_preset` for what none stands for."""
        from peculiar.stages.train_gan import PRESETS, train_gan

        home = home_of(self.folder, "networks", name)
        config = self._trained_config(home, PRESETS, preset, options, replace)
        return train_gan(self.folder, config, name=name, replace=replace, track=self.track)

    def train_encoder(
        self, *, preset: Preset | None = None, name: str = "encoder", replace: bool = False, **options: Any
    ) -> Run:
        """Train the encoder. See `TrainEncoderConfig` for options."""
        from peculiar.stages.train_encoder import PRESETS, train_encoder

        home = home_of(self.folder, "networks", name)
        config = self._trained_config(home, PRESETS, preset, options, replace)
        return train_encoder(self.folder, config, name=name, replace=replace, track=self.track)

    def score(self, *, name: str = "main", replace: bool = False, **options: Any) -> Run:
        """Find latents and score what is not scored yet. See `ScoreConfig` for options."""
        from peculiar.stages.score import ScoreConfig, score

        config = self._config(home_of(self.folder, "scores", name), ScoreConfig(), options, replace)
        return score(self.folder, config, name=name, replace=replace, track=self.track)

    def rank(self, *, name: str = "main", replace: bool = False, **options: Any) -> Run:
        """Compare scores with a frozen reference. See `RankConfig` for options."""
        from peculiar.stages.rank import RankConfig, rank

        config = self._config(home_of(self.folder, "rankings", name), RankConfig(), options, replace)
        return rank(self.folder, config, name=name, replace=replace, track=self.track)

    def sweep_weights(
        self, weights: Sequence[float] = (0.0, 0.1, 0.3, 0.5, 1.0), *, sample: int = 2000, name: str = "main"
    ) -> Run:
        """Score a sample anew at other reconstruction weights; table, figure and page in `sweeps/<name>`."""
        from peculiar.stages.score import ScoreConfig, sweep_weights

        config = self._config(home_of(self.folder, "scores", name), ScoreConfig(), {}, replace=False)
        return sweep_weights(self.folder, config, tuple(weights), sample, name=name, track=self.track)

    def release(self, *, name: str = "main", replace: bool = False, **options: Any) -> Run:
        """Write the catalog, the selection, figures and a report to `release/<name>`. See `ReleaseConfig`."""
        from peculiar.stages.release import ReleaseConfig, release

        config = self._config(home_of(self.folder, "release", name), ReleaseConfig(), options, replace)
        return release(self.folder, config, name=name, replace=replace, track=self.track)

    def run(self, images: str | Path | None = None, *, preset: Preset | None = None, **options: Any) -> Run:
        """Do the main job: ingest, train, score, rank, join, release; whatever is complete already is left as it is.

        Parameters
        ----------
        images
            As for `ingest`; not needed again when an interrupted run goes on.
        preset
            "paper", "small", or "auto", which picks by device and number of images.
        **options
            Of `IngestConfig`, and `seed` and `device` for all stages.
        """
        given = {name: options.pop(name) for name in ("seed", "device") if name in options}
        recorded = (recorded_config(self.folder) or {}).copy()
        plan = RunPlan(
            preset=preset or recorded.get("preset", "auto"),
            seed=given.get("seed", recorded.get("seed", 0)),
            device=given.get("device", recorded.get("device", "auto")),
        )
        run = begin(self.folder, "run", plan, inputs={})
        if images is not None or options or read_run(self.folder / "survey") is None:
            self.ingest(images, **options)
        self._derive_what_can_be()
        seeded: dict[str, Any] = {"device": plan.device, "seed": plan.seed}
        self.train_gan(preset=self._unless_begun("gan", plan.preset), **seeded)
        self.train_encoder(preset=self._unless_begun("encoder", plan.preset), **seeded)
        self.score(**seeded)
        self.rank(**seeded)
        self._find_outlying(plan)
        self.release()
        return finish(self.folder, run, n_objects=len(self.survey), n_quarantined=len(self.quarantine))

    def _derive_what_can_be(self) -> None:
        """Sizes, shapes and colors, where the catalog has what they are made of."""
        from peculiar.catalog.derived import derivable

        if derivable(self.survey.schema.names):
            self.derive()

    def _find_outlying(self, plan: "RunPlan") -> None:
        """Self-supervised features, distances to neighbors, the detector, and the order that joins them all."""
        from peculiar.stages.train_features import LEAST_IMAGES

        if len(self.survey) < LEAST_IMAGES:
            log.warning("no self-supervised features, and so no score_joint, of fewer than %d objects", LEAST_IMAGES)
            return
        asked = self._unless_begun("self-supervised", plan.preset)
        self.train_features(preset=asked, device=plan.device, seed=plan.seed)
        self.make_features("self-supervised", device=plan.device)
        for look in ("frame", "center"):
            self.measure_neighbors(look, seed=plan.seed)
            self.relate(f"neighbors/{look}", seed=plan.seed)
        self.train_detector(preset=self._unless_begun("detector", plan.preset), device=plan.device, seed=plan.seed)
        self.make_features("detector", device=plan.device)
        self.relate("features/detector", seed=plan.seed)
        self.join(seed=plan.seed)

    # Kinds of things: features, forests, neighbors, maps.

    def train_autoencoder(
        self,
        *,
        of: Literal["residual", "image"] = "residual",
        preset: Preset | None = None,
        name: str | None = None,
        replace: bool = False,
        **options: Any,
    ) -> Run:
        """Train an autoencoder of residuals, or of images. See `TrainAutoencoderConfig` for options."""
        from peculiar.stages.train_autoencoder import PRESETS, train_autoencoder

        name = name or f"autoencoder-{of}"
        home = home_of(self.folder, "networks", name)
        options = {"of": of, **options}
        config = self._trained_config(home, PRESETS, preset, options, replace)
        return train_autoencoder(self.folder, config, name=name, replace=replace, track=self.track)

    def train_features(
        self, *, preset: Preset | None = None, name: str = "self-supervised", replace: bool = False, **options: Any
    ) -> Run:
        """Train self-supervised features on the survey's own images. See `TrainFeaturesConfig` for options."""
        from peculiar.stages.train_features import PRESETS, train_features

        home = home_of(self.folder, "networks", name)
        config = self._trained_config(home, PRESETS, preset, options, replace)
        return train_features(self.folder, config, name=name, replace=replace, track=self.track)

    def train_detector(
        self, *, preset: Preset | None = None, name: str = "detector", replace: bool = False, **options: Any
    ) -> Run:
        """Train the detector of light that is foreign to the survey. See `TrainDetectorConfig` for options."""
        from peculiar.stages.train_detector import PRESETS, train_detector

        home = home_of(self.folder, "networks", name)
        config = self._trained_config(home, PRESETS, preset, options, replace)
        return train_detector(self.folder, config, name=name, replace=replace, track=self.track)

    def make_features(self, name: str, *, replace: bool = False, **options: Any) -> Run:
        """Fill the feature set `features/<name>`. See `FeaturesConfig` for options.

        Without options "residual" and "image" are made by the autoencoders of these names, "critic" by the critic,
        "self-supervised" and "detector" by the networks of `train_features` and `train_detector`.
        """
        from peculiar.stages.features import FeaturesConfig, make_features

        usual: dict[str, dict[str, Any]] = {
            "critic": {"source": "critic"},
            "self-supervised": {"source": "self-supervised", "network": "self-supervised"},
            "detector": {"source": "detector", "network": "detector"},
        }
        own = usual.get(name, {"network": f"autoencoder-{name}"})
        home = home_of(self.folder, "features", name)
        config = self._config(home, dataclasses.replace(FeaturesConfig(), **own), options, replace)
        return make_features(self.folder, config, name=name, replace=replace, track=self.track)

    def grow_forest(self, name: str = "residual", *, replace: bool = False, **options: Any) -> Run:
        """Grow an extended isolation forest on the feature set of its name, or on `features`. See `ForestConfig`."""
        from peculiar.stages.forest import ForestConfig, grow_forest

        config = self._config(home_of(self.folder, "forests", name), ForestConfig(features=name), options, replace)
        return grow_forest(self.folder, config, name=name, replace=replace, track=self.track)

    def measure_neighbors(self, name: str = "self-supervised", *, replace: bool = False, **options: Any) -> Run:
        """Score by the distance to neighbors in the feature set of its name, or `features`. See `NeighborsConfig`.

        "frame" and "center" are those looks of the self-supervised features.
        """
        from peculiar.stages.neighbors import NeighborsConfig, measure_neighbors

        home = home_of(self.folder, "neighbors", name)
        looks = {look: NeighborsConfig(look=look) for look in ("frame", "center")}
        config = self._config(home, looks.get(name, NeighborsConfig(features=name)), options, replace)
        return measure_neighbors(self.folder, config, name=name, replace=replace, track=self.track)

    def join(self, *, name: str = "joint", replace: bool = False, **options: Any) -> Run:
        """Join scores, neighbor distances and the detector's score into score_joint. See `JoinConfig`."""
        from peculiar.stages.join import JoinConfig, join

        config = self._config(home_of(self.folder, "rankings", name), JoinConfig(), options, replace)
        return join(self.folder, config, name=name, replace=replace, track=self.track)

    def learn(
        self, labels: str | Path | None = None, *, name: str = "main", replace: bool = False, **options: Any
    ) -> Run:
        """Learn interest from labels, predict it for all, say what to look at next. See `LearnConfig`.

        Without a table of labels they are what was said to the atlas, or, where nothing was, the table given before.
        """
        from peculiar.stages.learn import NO_LABELS, LearnConfig, learn_interest

        is_own = labels is None and Labels(self.folder).last_event() > 0
        if labels is not None:
            options["labels"] = Path(labels)
        elif not is_own and (replace or recorded_config(home_of(self.folder, "interest", name)) is None):
            raise ValueError(NO_LABELS)
        config = self._config(home_of(self.folder, "interest", name), LearnConfig(), options, replace)
        if is_own:
            config = dataclasses.replace(config, labels=Path())
        return learn_interest(self.folder, config, name=name, replace=replace, track=self.track)

    def gather_labels(self, *, name: str = "main", replace: bool = False, **options: Any) -> Run:
        """Bring all votes together as the columns `label`, `label_probability` ... See `GatherLabelsConfig`."""
        from peculiar.stages.gather_labels import GatherLabelsConfig, gather_labels

        config = self._config(home_of(self.folder, "labels", name), GatherLabelsConfig(), options, replace)
        return gather_labels(self.folder, config, name=name, replace=replace)

    def group(
        self, radius_arcsec: float | None = None, *, name: str = "main", replace: bool = False, **options: Any
    ) -> Run:
        """Group pieces of one galaxy by friends of friends on the sky, within 8 arcsec if not told. See `GroupConfig`.

        The columns `group_id`, `group_size`, `group_rank` and `is_representative` stand in the ranking then.
        """
        from peculiar.stages.group import GroupConfig, group

        if radius_arcsec is not None:
            options["radius_arcsec"] = radius_arcsec
        config = self._config(home_of(self.folder, "groups", name), GroupConfig(), options, replace)
        return group(self.folder, config, name=name, replace=replace)

    def crossmatch(
        self,
        table: str | Path | None = None,
        *,
        service: str = "",
        name: str = "",
        replace: bool = False,
        **options: Any,
    ) -> Run:
        """Find counterparts in a table, or in SIMBAD, NED, VizieR, by position. See `CrossmatchConfig`.

        The columns begin with the folder's name, which is the table's or the service's where none is given:
        `gaia_n_within`, `gaia_separation_arcsec`, `simbad_known_as`, `is_known_simbad`.
        """
        from peculiar.stages.crossmatch import CrossmatchConfig, crossmatch, folder_name

        others: dict[str, Any] = {} if table is None else {"table": Path(table).resolve()}
        if service:
            others["service"] = service
        name = name or folder_name(CrossmatchConfig(**others))
        home = home_of(self.folder, "crossmatches", name)
        config = self._config(home, CrossmatchConfig(), others | options, replace)
        return crossmatch(self.folder, config, name=name, replace=replace, track=self.track)

    def subset(self, new: str | Path, **options: Any) -> Run:
        """Make a new atlas of some of the objects, which shares the images of this one. See `SubsetConfig`.

        Scores, features, rankings, networks and labels come along; either atlas may grow, move or go without the other.
        """
        from peculiar.stages.subset import SubsetConfig, subset

        if "ids" in options:
            options["ids"] = Path(options["ids"]).resolve()
        return subset(self.folder, SubsetConfig(**options), Path(new), track=self.track)

    def export(self, *, name: str = "main", replace: bool = False, **options: Any) -> Run:
        """Write objects, columns and formats that are asked for to `products/<name>`. See `ExportConfig`."""
        from peculiar.stages.export import ExportConfig, export

        config = self._config(home_of(self.folder, "products", name), ExportConfig(), options, replace)
        return export(self.folder, config, name=name, replace=replace, track=self.track)

    def mask(self, *, name: str = "main", replace: bool = False, **options: Any) -> Run:
        """Say which objects are inside masks: flag columns, region files, MOCs. See `MaskConfig`.

        The columns `is_masked` and `n_masks` stand in the survey, or the ranking or catalog that was masked, then;
        those of another name as `is_masked-NAME`. Files are read anew each time.
        """
        from peculiar.stages.mask import MaskConfig, mask

        for each in ("regions", "mocs"):  # absolute, so that the command goes on from any folder
            if each in options:
                options[each] = tuple(Path(path).resolve() for path in options[each])
        config = self._config(home_of(self.folder, "masks", name), MaskConfig(), options, replace)
        return mask(self.folder, config, name=name, replace=replace, track=self.track)

    def bundle(self, *, name: str = "main", replace: bool = False, **options: Any) -> Run:
        """Make images and manifests for a citizen-science project, the first mixed with others. See `BundleConfig`."""
        from peculiar.stages.bundle import BundleConfig, bundle

        config = self._config(home_of(self.folder, "bundles", name), BundleConfig(), options, replace)
        return bundle(self.folder, config, name=name, replace=replace, track=self.track)

    def import_classifications(
        self, table: str | Path, *, name: str = "main", replace: bool = False, **options: Any
    ) -> Run:
        """Count the votes of a citizen-science project, by object; a newer export anew. See `ClassifyConfig`."""
        from peculiar.stages.classify import ClassifyConfig, classify

        given = {**options, "table": Path(table)}
        home = home_of(self.folder, "classifications", name)
        config = self._config(home, ClassifyConfig(table=Path(table)), given, replace)
        return classify(self.folder, config, name=name, replace=replace, track=self.track)

    def import_release(
        self, catalog: str | Path, images: str | Path | None = None, *, name: str = "released", replace: bool = False
    ) -> Run:
        """Bring a released catalog into `catalogs/<name>`, and its images, where there are any, into the survey.

        The survey then has the catalog's columns, those that have a name of the house's with the suffix ``_catalog``.
        `Run.outputs` of the survey counts what came; see `ImportReleaseConfig` for what can be read.
        """
        from peculiar.stages.import_release import ImportReleaseConfig, import_release

        given = {"images": Path(images).resolve()} if images is not None else {}
        config = ImportReleaseConfig(catalog=Path(catalog).resolve(), **given)
        run = import_release(self.folder, config, name=name, replace=replace)
        if run.outputs["images"]:
            known = home_of(self.folder, "catalogs", name) / "catalog.parquet"
            self.ingest(run.outputs["images"], catalog=known)
        return run

    def catalog(self, name: str = "released") -> "astropy.table.Table":
        """A released catalog that was imported, as an astropy table."""
        table = Table(home_of(self.folder, "catalogs", name) / "table.lance").open().to_table()
        return _astropy(table)

    def import_labels(self, table: str | Path, *, expert: str = "", add_classes: bool = False) -> "Imported":
        """Add the labels of a table to those said; the same file again adds nothing. See `import_labels`."""
        from peculiar.stages.import_labels import import_labels

        return import_labels(self.folder, Path(table), expert=expert, add_classes=add_classes)

    def simulate_expert(self, truth: str | Path, *, name: str = "main", **options: Any) -> Run:
        """Let a made expert label by a table of the truth, and say how many are found. See `SimulateExpertConfig`."""
        from peculiar.stages.simulate_expert import SimulateExpertConfig, simulate_expert

        config = SimulateExpertConfig(truth=Path(truth), **options)
        return simulate_expert(self.folder, config, name=name, replace=True, track=self.track)

    def bench(self, truth: str | Path, *, name: str = "main", **options: Any) -> Run:
        """Judge every score, feature set and model of interest by a table of the truth. See `BenchConfig`."""
        from peculiar.stages.bench import BenchConfig, bench

        config = BenchConfig(truth=Path(truth), **options)
        return bench(self.folder, config, name=name, replace=True, track=self.track)

    def inject(self, *, name: str = "main", replace: bool = False, **options: Any) -> Run:
        """Plant oddities in copies of the survey's images, score them as all else, and judge every score by them.

        What is made is an atlas of its own, `injections/<name>/atlas`; its `bench/main` has the result. Networks and
        pixel PCA are this atlas's, made from the originals, and what was computed of untouched objects is taken over.
        See `InjectConfig` for options.

        Raises
        ------
        ValueError
            What would be taken over is stale, or does not have all objects.
        """
        from peculiar.stages.inject import InjectConfig, inject, take_over

        scores, sets = self.ranking().run.config["scores"], self._made_of_images()
        taken = ("rankings/main", f"scores/{scores}", *(f"features/{each}" for each in sets))
        unfit = [each for each in self.status() if each.folder in taken and each.state != "complete"]
        if unfit:
            raise ValueError(
                f"{unfit[0].folder} is {unfit[0].state} ({unfit[0].detail}), and copies that are scored now would be "
                f'compared with it; bring it up to date by "peculiar {unfit[0].stage}" first'
            )

        def judged(child: Path, truth: Path) -> dict[str, Any]:
            other = Atlas(child, track=self.track)
            take_over(self.folder, child, truth, scores=scores, features=sets)
            other._do_as(self)
            return other.bench(truth, seed=config.seed).outputs

        config = self._config(home_of(self.folder, "injections", name), InjectConfig(), options, replace)
        runs = {place: read_run(self.folder / place) for place in taken}
        reads = {place: run.identity for place, run in runs.items() if run is not None}
        return inject(self.folder, config, work=judged, reads=reads, name=name, replace=replace, track=self.track)

    def _made_of_images(self) -> list[str]:
        """Feature sets that can be made of other images by the networks there are."""
        runs = {name: self.features(name).run for name in feature_sets(self.folder)}
        return [name for name, run in runs.items() if run.config["source"] not in ("table", "pretrained")]

    def _do_as(self, parent: "Atlas") -> None:
        """Score, rank and relate as the parent did, with networks that are here already."""
        from peculiar.stages.features import FeaturesConfig
        from peculiar.stages.forest import ForestConfig
        from peculiar.stages.join import JoinConfig
        from peculiar.stages.neighbors import NeighborsConfig
        from peculiar.stages.rank import RankConfig
        from peculiar.stages.relate import RelateConfig
        from peculiar.stages.score import ScoreConfig

        def told(place: str, default: Any) -> dict[str, Any]:
            recorded = recorded_config(parent.folder / place) or {}
            usual = {each.name: getattr(default, each.name) for each in dataclasses.fields(default) if each.compare}
            names = [name for name, each in usual.items() if name in recorded and not isinstance(each, Path)]
            return {name: _typed(recorded[name], usual[name]) for name in names}

        ranked = told("rankings/main", RankConfig())
        self.score(name=ranked["scores"], **told(f"scores/{ranked['scores']}", ScoreConfig()))
        self.rank(**{**ranked, "n_reconstructions": 0})
        sets = parent._made_of_images()
        for name in sets:
            self.make_features(name, **told(f"features/{name}", FeaturesConfig()))
        for kind, config, method in (
            ("neighbors", NeighborsConfig(), self.measure_neighbors),
            ("forests", ForestConfig(features=""), self.grow_forest),
        ):
            for home in sorted(path.parent for path in parent.folder.glob(f"{kind}/*/run.json")):
                options = told(f"{kind}/{home.name}", config)
                if options["features"] in sets:
                    method(home.name, **options)
        for home in sorted(path.parent for path in parent.folder.glob("rankings/*/run.json")):
            related = read_run(home)
            if related is not None and related.stage == "relate" and read_run(self.folder / related.config["of"]):
                self.relate(name=home.name, **told(f"rankings/{home.name}", RelateConfig(of="features/any")))
        if read_run(parent.folder / "rankings" / "joint") is not None:
            self.join(**told("rankings/joint", JoinConfig()))

    def relate(self, of: str, *, name: str | None = None, replace: bool = False, **options: Any) -> Run:
        """Give the scores of `of`, "features/NAME" or the like, their relative forms in every ranking."""
        from peculiar.stages.relate import RelateConfig, relate

        name = name or of.replace("/", "-")
        config = self._config(
            home_of(self.folder, "rankings", name), RelateConfig(of=of), {"of": of, **options}, replace
        )
        return relate(self.folder, config, name=name, replace=replace, track=self.track)

    def features(self, name: str = "residual") -> FeatureSet:
        """A complete feature set: vectors by object_id."""
        return FeatureSet(self.folder, name)

    def similar(
        self,
        objects: ObjectIds | int | str | None = None,
        n: int = 24,
        *,
        images: np.ndarray | str | Path | None = None,
        fit: Literal["", "exact", "crop", "pad", "resample"] = "",
        features: str = "",
        is_farthest: bool = False,
    ) -> "astropy.table.Table":
        """The `n` objects most similar to one object or to a group, or least, as a table of object_id and distance.

        Parameters
        ----------
        objects
            One object, or a group, by id or by source.
        images
            In their place, images from outside the survey: uint8 (n, height, width, channels), or a file that is read
            as the survey's own were.
        fit
            What to do with a file's image of another size; empty for what was done with the survey's own.
        features
            Name of the feature set; empty for self-supervised, residual, or the only one there is.
        """
        import pyarrow as pa

        if (objects is None) == (images is None):
            raise ValueError("similar needs objects of the survey, or images from outside it; give one of the two")
        features = features or default_features(self.folder, is_of_images=images is not None)
        if not features:
            raise FileNotFoundError(f'there are no features in {self.folder} yet; run "peculiar train-features" first')
        searched = self._searched(features)
        if images is not None:
            vectors = self.features(features).of_images(self.outside_images(images, fit=fit))
            ids, distances = searched.to_vector(vectors, n, is_farthest=is_farthest)
        else:
            named = [objects] if isinstance(objects, int | str | np.integer) else objects
            ids, distances = searched.to(self.object_ids(named or []), n, is_farthest=is_farthest)
        table = _astropy(pa.table({"object_id": ids, "distance": distances}))
        table.meta["features"] = features
        return table

    def outside_images(self, images: np.ndarray | str | Path, *, fit: str = "") -> np.ndarray:
        """Images that the survey does not have, in its form, uint8 (n, height, width, channels); a file is read."""
        from peculiar.stages.ingest import read_like

        if isinstance(images, str | Path):
            return read_like(self.folder, Path(images), fit=fit)
        return images[None] if images.ndim == len(self.survey.form.shape) else images

    def _searched(self, features: str) -> "Similar":
        """A feature set opened for search, kept open for the next question while it is the same."""
        from peculiar.similar import Similar

        opened, index = self.features(features), read_run(home_of(self.folder, "indices", features))
        key = (features, opened.run.identity, opened.table.version, index.finished if index else "")
        if key not in self._open_for_search:
            self._open_for_search = {key: Similar(self.folder, features)}
        return self._open_for_search[key]

    def build_index(self, features: str = "residual", *, replace: bool = False, **options: Any) -> Run:
        """Index a feature set of a million objects or more for `similar`. See `IndexConfig`."""
        from peculiar.stages.index import IndexConfig, build_index

        config = self._config(
            home_of(self.folder, "indices", features), IndexConfig(features=features), options, replace
        )
        return build_index(self.folder, config, replace=replace, track=self.track)

    def make_map(self, name: str, *, replace: bool = False, **options: Any) -> Run:
        """Lay objects out in two dimensions: `maps/<name>`, of the feature set `of` (its name). See `MapConfig`."""
        from peculiar.stages.map import MapConfig, make_map

        config = self._config(home_of(self.folder, "maps", name), MapConfig(of=name), options, replace)
        return make_map(self.folder, config, name=name, replace=replace, track=self.track)

    def cluster(self, of: str | None = None, *, name: str | None = None, replace: bool = False, **options: Any) -> Run:
        """Find clusters in "features/NAME" or "maps/NAME" (maps/residual), with their cards. See `ClusterConfig`."""
        from peculiar.stages.cluster import ClusterConfig, cluster

        if of is not None:
            options["of"] = of
        of = of or "maps/residual"
        name = name or of.replace("/", "-")
        config = self._config(home_of(self.folder, "clusters", name), ClusterConfig(of=of), options, replace)
        return cluster(self.folder, config, name=name, replace=replace, track=self.track)

    def card(self, name: int | str, **options: Any) -> Path:
        """The evidence on one object, as a page and a picture in `cards/`. Options are those of `make_card`."""
        from peculiar.stages.card import make_card

        return make_card(self.folder, self.survey.find(name), **options)

    def compare(self, *, name: str = "main", **options: Any) -> Run:
        """Compare samples with all others in their properties, and say what scores rank. See `CompareConfig`."""
        from peculiar.stages.compare import CompareConfig, compare_samples

        config = self._config(home_of(self.folder, "comparisons", name), CompareConfig(), options, replace=True)
        return compare_samples(self.folder, config, name=name, replace=True, track=self.track)

    def follow_up(self, *, name: str = "main", **options: Any) -> Run:
        """Make target lists, finding charts and visibility for a telescope, anew. See `FollowUpConfig`."""
        from peculiar.stages.follow_up import FollowUpConfig, follow_up

        return follow_up(self.folder, FollowUpConfig(**options), name=name, replace=True, track=self.track)

    def lines(self, name: int | str, spectrum: str | Path, *, table: str = "main", **options: Any) -> Run:
        """Measure an object's spectrum, anew; redshift, fluxes and what they tell become columns. See `LinesConfig`.

        `spectra/<table>/objects/<object_id>/lines.html` joins its image, its scores and its spectrum.
        """
        from peculiar.stages.lines import LinesConfig, measure_object

        config = LinesConfig(spectrum=Path(spectrum), **options)
        return measure_object(self.folder, config, name=name, table=table)

    def portray(self, *, name: str = "main", **options: Any) -> Run:
        """Draw maps, galleries, histograms and what autoencoders keep; one page in `portraits/<name>`."""
        from peculiar.stages.portray import PortrayConfig, portray

        config = self._config(home_of(self.folder, "portraits", name), PortrayConfig(), options, replace=True)
        return portray(self.folder, config, name=name, replace=True, track=self.track)

    def characterize(
        self,
        *,
        preset: Preset | None = None,
        seed: int | None = None,
        device: str | None = None,
        replace: bool = False,
    ) -> Run:
        """Turn a list of high scores into kinds of things; whatever is complete already is left as it is.

        Autoencoders of residuals and of images, their features and the critic's, a forest on the residuals' features,
        the four maps of the paper's Fig. 6 and that of the self-supervised features, where there are any, clusters on
        it and on that of the residuals' features, and a page of pictures. `seed`,
        `device` and `replace` are those of all stages.
        """
        where: dict[str, Any] = {} if device is None else {"device": device}
        seeded: dict[str, Any] = {} if seed is None else {"seed": seed}
        for of in _AUTOENCODED:
            asked = preset or (None if replace else self._unless_begun(f"autoencoder-{of}", "auto"))
            self.train_autoencoder(of=of, preset=asked, replace=replace, **where, **seeded)
            self.make_features(of, replace=replace, **where)
            self.relate(f"features/{of}", replace=replace)
        self.make_features("critic", replace=replace, **where)
        self.grow_forest("residual", replace=replace, **seeded)
        self.relate("forests/residual", replace=replace)
        for name in ("pixels", "residual-pixels", *_AUTOENCODED):
            self.make_map(name, replace=replace, **seeded)
        mapped = ["residual"]
        if read_run(home_of(self.folder, "features", "self-supervised")) is not None:
            self.make_map("self-supervised", replace=replace, **seeded)
            mapped.append("self-supervised")
        for name in mapped:
            # Fine, as a map of galaxies is one cloud, and the few clusters that last longest are its halves.
            self.cluster(f"maps/{name}", is_fine=True, replace=replace, **seeded)
        return self.portray(**seeded)

    def choose_preset(self, preset: Preset, device: str = "auto") -> Literal["paper", "small"]:
        """The preset that "auto" stands for here: the paper's where there is an accelerator and enough images."""
        if preset != "auto":
            return preset
        from peculiar import engine

        engine.tune()
        where, n_images = engine.machine(device).device.type, len(self.survey)
        chosen: Literal["paper", "small"] = "paper" if where != "cpu" and n_images >= PAPER_IMAGES else "small"
        log.info("preset %s: %d images on %s", chosen, n_images, where)
        return chosen

    def _unless_begun(self, network: str, preset: Preset) -> Preset | None:
        return preset if recorded_config(home_of(self.folder, "networks", network)) is None else None

    def _trained_config(
        self, home: Path, presets: dict[str, Any], preset: Preset | None, options: dict[str, Any], replace: bool
    ) -> Any:
        """The config of a network's training: a preset that is asked for counts more than the record."""
        default = self._preset(home, presets, preset, options, replace)
        return self._config(home, default, options, replace or preset is not None)

    def _preset(
        self, home: Path, presets: dict[str, Any], preset: Preset | None, options: dict[str, Any], replace: bool
    ) -> Any:
        """The config of a preset; where none is asked for and the folder was begun, its record will speak."""
        if preset is None and not replace and recorded_config(home) is not None:
            return next(iter(presets.values()))
        return presets[self.choose_preset(preset or "auto", options.get("device", "auto"))]

    def _config(self, home: Path, default: Any, options: dict[str, Any], replace: bool) -> Any:
        """The config that `home` was begun with, or the default, with the options that were given."""
        recorded = None if replace else recorded_config(home)
        fields = {each.name for each in dataclasses.fields(default)}
        unknown = sorted(set(options) - fields)
        if unknown:
            raise TypeError(f"no option {unknown[0]!r}; there are {', '.join(sorted(fields))}")
        if recorded is not None:
            kept = {name: value for name, value in recorded.items() if name in fields and name != "device"}
            default = dataclasses.replace(
                default, **{name: _typed(each, getattr(default, name)) for name, each in kept.items()}
            )
        # Absolute, so that the command goes on from any folder; "." is here, and no path at all only as a default.
        absolute = {
            name: Path(each).resolve() for name, each in options.items() if isinstance(getattr(default, name), Path)
        }
        return dataclasses.replace(default, **{**options, **absolute})

    # Tables and images.

    @property
    def survey(self) -> Survey:
        """Images and catalog columns."""
        return Survey(self.folder / "survey" / "table.lance")

    @property
    def quarantine(self) -> Table:
        """What could not be read, and why."""
        return Table(self.folder / "survey" / "quarantine.lance")

    @property
    def labels(self) -> Labels:
        """What experts said of objects: the log, the classes, the experts."""
        return Labels(self.folder)

    def ranking(self, name: str = "main") -> Ranking:
        """A complete ranking: its tables joined, its reconstructions."""
        return Ranking(self.folder, name)

    def object_ids(self, objects: ObjectIds) -> np.ndarray:
        """Ids, int64, of objects named by id or by source."""
        if isinstance(objects, np.ndarray) and objects.dtype.kind in "iu":
            return objects.astype(np.int64)
        return np.array([self.survey.find(each) for each in objects], np.int64)

    def scores(self, objects: ObjectIds | None = None, *, ranking: str = "main") -> "astropy.table.Table":
        """All scores, raw and relative, measures and catalog columns of some objects or of all, as an astropy table."""
        opened = self.ranking(ranking)
        return _astropy(opened.rows(opened.object_ids if objects is None else self.object_ids(objects)))

    def top(self, n: int = 25, *, by: str = "", where: str = "", ranking: str = "main") -> "astropy.table.Table":
        """The `n` most anomalous objects, ranked, with all that `scores` has. NaN is last, equal values by id.

        Without `by`, in the order first shown: score_joint where there is one, else score_anom_conditional. `where` is
        a filter that they pass, see `select`.
        """
        opened = self.ranking(ranking)
        ids = opened.object_ids[_ordered(opened, by, where)[: _checked(n)]]
        table = _astropy(opened.rows(ids))
        table.add_column(np.arange(1, len(ids) + 1), name="rank", index=0)
        return table

    def select(self, where: str, *, by: str = "", descending: bool = True, ranking: str = "main") -> np.ndarray:
        """Ids, int64, of objects that pass a filter, as ``score_joint > 12 and ra < 150``, the largest `by` first.

        The explorer's filters, and the Python that it gives for a selection; `parse_filter` says what can be written.
        """
        opened = self.ranking(ranking)
        return opened.object_ids[_ordered(opened, by, where, descending=descending)]

    def significance(
        self, by: str = "score_anom_conditional", *, null: ObjectIds | None = None, ranking: str = "main"
    ) -> "astropy.table.Table":
        """p-value and false-discovery rate of every object's score, most significant first, as an astropy table.

        Parameters
        ----------
        by
            A score; conditional forms are nearly symmetric among ordinary objects, which the null that is estimated
            supposes.
        null
            Ordinary objects, whose scores are the null. Without them it is the lower half of all, mirrored.
        """
        import pyarrow as pa

        from peculiar.scoring.significance import discovery_rates, mirrored_null, p_values

        opened = self.ranking(ranking)
        order = opened.order(by)
        ids, values = opened.object_ids[order], opened.column(by)[order]
        ordinary = mirrored_null(values) if null is None else values[np.isin(ids, self.object_ids(null))]
        p = p_values(values, ordinary)
        columns = {"object_id": ids, by: values, "p": p, "false_discovery_rate": discovery_rates(p)}
        return _astropy(pa.table(columns))

    def images(self, objects: ObjectIds) -> np.ndarray:
        """Stored images, uint8 (n, height, width, channels)."""
        return self.survey.images(self.object_ids(objects))

    def reconstructions(self, objects: ObjectIds, *, ranking: str = "main") -> np.ndarray:
        """What the generator makes of the objects' latents, uint8 (n, height, width, channels).

        Those that are not kept are made now, by the generator that the scores were made with.

        Raises
        ------
        ValueError
            That generator's file has changed.
        """
        return self.ranking(ranking).reconstructions(self.object_ids(objects))

    def residuals(self, objects: ObjectIds, *, ranking: str = "main") -> np.ndarray:
        """Absolute differences of images and reconstructions, uint8 (n, height, width, channels)."""
        return self.ranking(ranking).residuals(self.object_ids(objects))

    def figure_top(self, n: int = 25, *, by: str = "", where: str = "", ranking: str = "main") -> "Figure":
        """The `n` most anomalous objects: image, reconstruction, residual."""
        from peculiar.figures import figure_top

        opened = self.ranking(ranking)
        by = by or opened.first_shown
        order = _ordered(opened, by, where)[: _checked(n)]
        ids = opened.object_ids[order]
        made, left = opened.reconstructions(ids), opened.residuals(ids)
        return figure_top(self.images(ids), ids, opened.column(by)[order], made, left, value_name=by)

    def info(self, name: int | str, *, ranking: str = "main") -> dict[str, Any]:
        """All that the atlas has on one object: catalog, scores, rank; or why it is in quarantine."""
        try:
            object_id = self.survey.find(name)
        except (KeyError, FileNotFoundError):
            for batch in self.quarantine.scan():
                for row in batch.to_pylist():
                    if str(name) in (row["source"], str(row["object_id"])):
                        return {"quarantined": True, **row}
            raise
        found: dict[str, Any] = {"object_id": object_id}
        columns = [column for column in self.survey.schema.names if column not in ("image", "flux")]
        found |= self.survey.take([object_id], columns).to_pylist()[0]
        if read_run(home_of(self.folder, "rankings", ranking)) is not None:
            opened = self.ranking(ranking)
            if object_id in opened.object_ids:
                found |= opened.rows(np.array([object_id])).to_pylist()[0]
                found["rank"] = int(np.flatnonzero(opened.object_ids[opened.order()] == object_id)[0]) + 1
                found["of"] = len(opened)
        return found

    def explore(
        self, *, expert: str = "", port: int = 0, ranking: str = "main", is_read_only: bool = False
    ) -> "Explored":
        """Open the page of this atlas: as a notebook's cell, or at the address that the answer has, until its `stop`.

        On this machine alone; `peculiar explore` serves others. The expert is by default whose account this is.
        """
        import getpass

        from peculiar.explorer import Explored, Options

        name = expert or getpass.getuser()
        return Explored(self.folder, Options(port=port, ranking=ranking, expert=name, is_read_only=is_read_only))

    def check(self, *, ranking: str = "main") -> "list[Finding]":
        """Whether ids agree, networks are those that scored, and scores come out the same again."""
        from peculiar.stages.check import check

        return check(self.folder, ranking=ranking)

    def status(self) -> list[Standing]:
        """Where every stage stands."""
        return standings(self.folder)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What `run` remembers, so that it can go on without being told again."""

    preset: Preset = "auto"
    seed: int = 0
    device: str = dataclasses.field(default="auto", compare=False)


def _checked(n: int) -> int:
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    return n


def _ordered(opened: Ranking, by: str, where: str, *, descending: bool = True) -> np.ndarray:
    """Places of those that pass, all without a filter, from the largest value down, or from the smallest up."""
    order = opened.order(by, descending=descending)
    return order[opened.select(where)[order]] if where else order


def _typed(value: Any, like: Any) -> Any:
    """JSON's lists are the configs' tuples, and some of its texts their paths."""
    if isinstance(like, Path):
        return Path(value)
    return tuple(value) if isinstance(value, list) else value


def _astropy(table: "pa.Table") -> "astropy.table.Table":
    """An astropy table with units and descriptions; nulls are masked."""
    import astropy.table

    from peculiar.catalog.columns import describe
    from peculiar.io.exports import astropy_column

    described = describe(table)
    columns = zip(described.schema, described.columns, strict=True)
    return astropy.table.Table([astropy_column(column.combine_chunks(), field) for field, column in columns])
