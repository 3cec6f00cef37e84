"""Lay objects out in two dimensions, alike beside alike: by a feature set, by pixels, or by residuals."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from peculiar.checkpoint import load_tensors, save_tensors
from peculiar.feature_set import FeatureSet
from peculiar.ranking import Ranking, residuals_by
from peculiar.run import Run, Track, begin, finish, home_of, quiet, read_run, refuse_made_anew
from peculiar.survey import Survey, Table, located, placed

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from peculiar.maps.pixels import PixelComponents

Method = Literal["umap", "tsne", "som", "pca"]
COMMIT_ROWS = 65_536
READ_ROWS = 512  # objects read at once: some 100 MB where they are images
QUALITY_OF = ("score_disc", "score_anom")


@dataclass(frozen=True, kw_only=True)
class MapConfig:
    """What `map` can be told."""

    of: Annotated[str, "name of the feature set to lay out; or pixels, or residual-pixels"] = ""
    ranking: Annotated[str, "ranking whose residuals are laid out, and whose scores the map is judged by"] = "main"
    method: Annotated[Method, "how objects are laid out"] = "umap"
    n_neighbors: Annotated[int, "neighbors that UMAP keeps together, and that a new object is placed among"] = 5
    min_dist: Annotated[float, "least distance that UMAP leaves between objects"] = 0.1
    perplexity: Annotated[float, "how many neighbors t-SNE looks at, roughly"] = 30.0
    n_objects: Annotated[int, "objects, taken at random, that the map is fitted to; the others are placed"] = 100_000
    seed: Annotated[int, "seed of the sample and of the map"] = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, least in (("n_neighbors", 2), ("n_objects", 10), ("perplexity", 1)):
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} must be {least} or more, got {getattr(self, name)}")
        if not 0 <= self.min_dist <= 1:
            raise ValueError(f"min_dist must be from 0 to 1, got {self.min_dist}")
        if self.method not in get_args(Method):
            raise ValueError(f"method must be one of {', '.join(get_args(Method))}, got {self.method!r}")


def make_map(folder: Path, config: MapConfig, *, name: str, replace: bool = False, track: Track = quiet) -> Run:
    """Fill `maps/<name>` of the atlas in `folder`: what is missing of it.

    `table.lance` holds object_id, map_x, map_y and is_fitted. The map is fitted once, to a sample, which
    `fitted.safetensors` keeps (object_id, vector, place); all other objects, those that come later too, are placed
    among the sample and move nothing. Images are first reduced to principal components, `pca.safetensors`. Objects
    whose vectors are not finite are left out and counted.

    Raises
    ------
    FileNotFoundError
        What is to be laid out is not complete.
    ValueError
        There are too few objects, or the vectors were made anew since the map was fitted.
    """
    from peculiar.maps.projection import refuse_few

    source = _source(folder, config)
    home = home_of(folder, "maps", name)
    message = f"{home} maps what was made anew since; map again with --replace, or under another --name"
    refuse_made_anew(home, source.reads, message, replace=replace)
    if replace or not (home / "fitted.safetensors").exists():
        n_objects = min(len(source.table), config.n_objects)
        refuse_few(n_objects, config.method, n_neighbors=config.n_neighbors, perplexity=config.perplexity)
        _refuse_flat(source, config)
    run = begin(home, "map", config, inputs=source.inputs, reads=source.reads, replace=replace)
    read, kept = source.read, {}
    if source.is_images:
        components = _components(source, config, home, track)
        kept = {"variance_kept": components.variance_kept, "n_components": len(components.components)}

        def read(object_id: "np.ndarray") -> "np.ndarray":
            return components.transform(source.read(object_id))

    fit = _fit(source.table, read, config, home, track)
    table = _place_missing(source.table, read, fit, config, home, track)
    return finish(
        home,
        run,
        n_objects=len(table),
        n_fitted=len(fit.object_id),
        n_without_vector=len(source.table) - len(table),
        quality=_quality(folder, config, fit),
        **kept,
    )


@dataclass(frozen=True)
class _Source:
    """Whose objects are laid out, and vectors or images of them by id."""

    table: Table
    read: "Callable[[np.ndarray], np.ndarray]"
    is_images: bool
    inputs: dict[str, Any]
    reads: dict[str, str]


@dataclass(frozen=True)
class _Fit:
    """What the map was fitted to, by ascending id, and where it put it."""

    object_id: "np.ndarray"
    vectors: "np.ndarray"
    places: "np.ndarray"


def _source(folder: Path, config: MapConfig) -> _Source:
    survey = Survey(folder / "survey" / "table.lance")
    if config.of == "pixels":
        ingested = read_run(folder / "survey")
        identity = ingested.identity if ingested else ""
        return _Source(survey, survey.images, True, {"survey": survey.version}, {"survey": identity})
    if config.of == "residual-pixels":
        ranking = Ranking(folder, config.ranking)
        residuals = residuals_by(folder, ranking.scored, ranking.facts)
        inputs, reads = {"ranking": ranking.base.version}, {ranking.scored_in: ranking.scored.identity}

        def read(object_id: "np.ndarray") -> "np.ndarray":
            return residuals(object_id, survey.images(object_id))

        return _Source(ranking.base, read, True, inputs, reads)
    if not config.of:
        raise ValueError("of must name a feature set, or be pixels or residual-pixels; it is empty")
    features = FeatureSet(folder, config.of)
    inputs, reads = {"features": features.table.version}, {f"features/{config.of}": features.run.identity}
    return _Source(features.table, features.take, False, inputs, reads)


def _refuse_flat(source: _Source, config: MapConfig) -> None:
    """Stop before anything is begun where there is nothing to lay out."""
    import numpy as np

    drawn = source.read(source.table.sample(READ_ROWS, seed=config.seed))
    rows = drawn.reshape(len(drawn), -1)
    usable = rows[np.isfinite(rows).all(axis=1)]
    if not len(usable) or not (usable != usable[0]).any():
        what = "no object has finite numbers" if not len(usable) else "all objects have the same numbers"
        raise ValueError(f"of {len(rows)} drawn to be laid out by {config.of}, {what}; look at what made them")


def _components(source: _Source, config: MapConfig, home: Path, track: Track) -> "PixelComponents":
    """The principal components kept with the map; found on a sample the first time."""
    from peculiar.maps.pixels import PixelComponents, fit_pixels, n_pixel_images

    path = home / "pca.safetensors"
    if not path.exists():
        import numpy as np
        import torch

        first = source.read(source.table.object_ids()[:1])
        wanted = source.table.sample(n_pixel_images(first[0].size), seed=config.seed)
        with track("finding principal components", len(wanted)) as advance:
            images = np.empty((len(wanted), *first.shape[1:]), np.uint8)
            for start in range(0, len(wanted), READ_ROWS):
                part = wanted[start : start + READ_ROWS]
                images[start : start + len(part)] = source.read(part)
                advance(len(part))
            found = fit_pixels(images, seed=config.seed)
        tensors = {name: torch.from_numpy(getattr(found, name)) for name in ("mean", "components", "variance")}
        save_tensors(path, tensors, metadata={"variance_kept": found.variance_kept, "n_images": len(images)})
    loaded, _ = load_tensors(path)
    return PixelComponents(**{name: tensor.numpy() for name, tensor in loaded.items()})


def _fit(table: Table, read: "Callable[[np.ndarray], np.ndarray]", config: MapConfig, home: Path, track: Track) -> _Fit:
    """The fit kept with the map; made the first time, of a sample."""
    import numpy as np

    path = home / "fitted.safetensors"
    if not path.exists():
        import torch

        from peculiar.maps.projection import project

        # By hash, not by row: the map does not depend on the order that objects were ingested in.
        wanted = table.sample(config.n_objects, seed=config.seed)
        with track("reading vectors", len(wanted)) as advance:
            parts = []
            for start in range(0, len(wanted), READ_ROWS):
                parts.append(read(wanted[start : start + READ_ROWS]))
                advance(len(parts[-1]))
            vectors = np.concatenate(parts)
        is_usable = np.isfinite(vectors).all(axis=1)
        wanted, vectors = wanted[is_usable], vectors[is_usable]
        with track("fitting the map", None):
            places = project(
                vectors,
                config.method,
                n_neighbors=config.n_neighbors,
                min_dist=config.min_dist,
                perplexity=config.perplexity,
                seed=config.seed,
            )
        order = np.argsort(wanted)
        columns = {"object_id": wanted, "vector": vectors, "place": places}
        save_tensors(path, {name: torch.from_numpy(values[order]) for name, values in columns.items()})
    loaded, _ = load_tensors(path)
    return _Fit(*(loaded[name].numpy() for name in ("object_id", "vector", "place")))


def _place_missing(
    objects: Table,
    read: "Callable[[np.ndarray], np.ndarray]",
    fit: _Fit,
    config: MapConfig,
    home: Path,
    track: Track,
) -> Table:
    """Append every object that is not on the map: the fitted where the fit put them, the others among those."""
    import numpy as np
    import pyarrow as pa

    from peculiar.maps.placing import place

    fields = {"object_id": pa.int64(), "map_x": pa.float32(), "map_y": pa.float32(), "is_fitted": pa.bool_()}
    schema, table = pa.schema(fields), Table(home / "table.lance")
    with track("placing", len(objects)) as advance:
        advance(len(table))

        def rows() -> "Iterator[pa.RecordBatch]":
            for batch in objects.scan(["object_id"], batch_size=READ_ROWS, but_not=table):
                object_id = batch["object_id"].to_numpy().astype(np.int64)
                row, is_fitted = located(fit.object_id, object_id)
                places = fit.places[row]
                if not is_fitted.all():
                    new = read(object_id[~is_fitted])
                    places[~is_fitted] = place(new, fit.vectors, fit.places, n_neighbors=config.n_neighbors)
                kept = np.isfinite(places).all(axis=1)
                columns = (object_id[kept], *places[kept].T, is_fitted[kept])
                yield pa.record_batch([pa.array(each) for each in columns], schema=schema)
                advance(batch.num_rows)

        table.append_in_commits(rows(), schema, n_rows=COMMIT_ROWS)
    return table


def _quality(folder: Path, config: MapConfig, fit: _Fit) -> dict[str, float | None]:
    """How well the map orders each score of the ranking, over the fitted objects; nothing where it is not ranked."""
    import numpy as np

    from peculiar.maps.placing import map_quality

    if read_run(home_of(folder, "rankings", config.ranking)) is None:
        return {}
    ranking = Ranking(folder, config.ranking)
    row, is_ranked = placed(ranking.object_ids, fit.object_id)
    found = {}
    for name in QUALITY_OF:
        if name in ranking.schema.names:
            quality = map_quality(fit.places[is_ranked], ranking.column(name)[row[is_ranked]], seed=config.seed)
            found[name] = quality if np.isfinite(quality) else None
    return found
