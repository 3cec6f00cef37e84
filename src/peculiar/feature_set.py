"""A finished feature set opened for reading: a named vector an object, whatever made it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from peculiar.checkpoint import file_digest, load_pinned
from peculiar.run import Run, home_of, read_run
from peculiar.survey import Survey, Table

if TYPE_CHECKING:
    from peculiar.networks.pretrained import Pretrained

SCAN_ROWS = 8_192
SCORES = {"autoencoder": "score_autoencoder", "detector": "score_foreign"}  # what these give beside a vector


class FeatureSet:
    """`features/<name>` of the atlas in `folder`; `run` says what the vectors are and were made by.

    Raises
    ------
    FileNotFoundError
        It is not complete; those that are there are named.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name, self.home = folder, name, home_of(folder, "features", name)
        run = read_run(self.home)
        if run is None:
            there = ", ".join(feature_sets(folder)) or "none"
            raise FileNotFoundError(
                f'features/{name} is not complete in {folder} (there: {there}); run "peculiar features" first'
            )
        self.run: Run = run
        self.table = Table(self.home / "table.lance")

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def n_features(self) -> int:
        """Length of a vector."""
        return int(self.table.schema.field("vector").type.list_size)

    def scan(self, batch_size: int = SCAN_ROWS) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Ids and vectors, float32 (n, n_features), of all objects, a batch at a time."""
        return scan_vectors(self.table, batch_size)

    def whole(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids and vectors of all objects at once: 4 bytes a number."""
        object_id, vectors = np.empty(len(self), np.int64), np.empty((len(self), self.n_features), np.float32)
        start = 0
        for ids, rows in self.scan():
            object_id[start : start + len(ids)], vectors[start : start + len(ids)] = ids, rows
            start += len(ids)
        return object_id, vectors

    def take(self, object_ids: np.ndarray) -> np.ndarray:
        """Vectors of these objects, float32 (n, n_features), in the order asked for."""
        return take_vectors(self.table, object_ids).reshape(len(object_ids), self.n_features)

    def of_images(self, images: np.ndarray, device: str = "auto") -> np.ndarray:
        """Vectors, float32 (n, n_features), of images from outside the survey, by the network that made the set.

        Parameters
        ----------
        images
            uint8 (n, height, width, channels), as the survey stores its own.

        Raises
        ------
        ValueError
            The set was made of residuals, which only objects that are scored have, or read from a table; or the
            images are of another shape; or the network's file has changed since.
        """
        kind, made_by = self.run.outputs["kind"], self.run.outputs["provenance"]
        if kind == "table" or made_by.get("of") == "residual":
            made_of = "read from a table" if kind == "table" else "made of residuals"
            raise ValueError(
                f"features/{self.name} cannot be made of an image alone, as it was {made_of}; "
                f"name a set that was made of images (there: {', '.join(feature_sets(self.folder))})"
            )
        shape = Survey(self.folder / "survey" / "table.lance").form.shape
        if images.dtype != np.uint8 or images.shape[1:] != shape:
            raise ValueError(
                f"images must be uint8 (n, {', '.join(map(str, shape))}), got {images.dtype} {images.shape}"
            )
        made, _ = self._apply(device)(images)
        return made

    def decoded(self, object_ids: np.ndarray) -> np.ndarray:
        """What the autoencoder gives back of these objects' vectors, uint8 (n, height, width, channels).

        Raises
        ------
        ValueError
            No autoencoder made the set, or its file has changed since.
        """
        if self.run.outputs["kind"] != "autoencoder":
            raise ValueError(f"features/{self.name} was made by {self.run.outputs['kind']}; only autoencoders decode")
        from peculiar import engine

        engine.tune()
        import torch

        from peculiar.networks.autoencoder import Autoencoder
        from peculiar.sky.pixels import to_stored

        made_by = self.run.outputs["provenance"]
        network = load_pinned(self.folder / made_by["network"], made_by["digest"], "autoencoder", Autoencoder)
        with torch.no_grad():
            return to_stored(network.decode(torch.tensor(self.take(object_ids))).numpy())

    def _apply(self, device: str) -> "Applied":
        made_by = self.run.outputs["provenance"]
        return applied(self.folder / made_by["network"], made_by["digest"], self.run.outputs["kind"], device)


@dataclass(frozen=True)
class Applied:
    """A network that makes features, opened: uint8 images (n, height, width, channels) in, vectors out.

    The second of what a call gives is the score, of those that have one (`SCORES`); None of others.
    """

    n_features: int
    make: Callable[[np.ndarray], tuple[np.ndarray, ...]]

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Vectors, float32 (n, n_features), and scores (n,)."""
        vectors, *scores = self.make(images)
        return vectors, scores[0] if scores else None


def applied(path: Path, digest: str, kind: str, device: str) -> Applied:
    """The network of a checkpoint as it makes features of `kind`, which is their source.

    Raises
    ------
    ValueError
        The file is not the one of this digest, or its training was not finished.
    """
    from peculiar import engine

    engine.tune()
    import torch

    from peculiar.networks.autoencoder import Autoencoder
    from peculiar.networks.contrastive import ContrastiveEncoder
    from peculiar.networks.foreign import Detector
    from peculiar.networks.gan import Critic
    from peculiar.scoring.reconstruction import in_batches

    network: torch.nn.Module
    if kind == "autoencoder":
        network = autoencoder = load_pinned(path, digest, "autoencoder", Autoencoder)
        n_features = autoencoder.n_features

        def apply(batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
            features = autoencoder.encode(batch)
            return features, (autoencoder.decode(features) - batch).abs().sum((1, 2, 3))

    elif kind == "detector":
        network = detector = load_pinned(path, digest, "detector", Detector)
        n_features = detector.n_features

        def apply(batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return detector.detected(batch)

    elif kind == "pretrained":
        network = backbone = load_backbone(path, digest)
        n_features = backbone.features(torch.zeros(1, 3, backbone.size, backbone.size)).shape[1]

        def apply(batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (backbone.features(batch),)

    elif kind == "critic":
        network = critic = load_pinned(path, digest, "critic", Critic)
        n_features = len(critic.trunk.layers[-1].get_parameter("weight"))

        def apply(batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (critic.features(batch).mean((2, 3)),)

    else:
        network = encoder = load_pinned(path, digest, "encoder", ContrastiveEncoder)
        n_features = encoder.n_features
        if not encoder.get_buffer("components").any():
            raise ValueError(f'{path} is from the middle of a training; finish it by "peculiar train-features"')

        def apply(batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return (encoder.features(batch),)

    machine = engine.machine(device)
    machine.place(network)

    def make(images: np.ndarray) -> tuple[np.ndarray, ...]:
        with torch.no_grad():
            return tuple(each.cpu().numpy() for each in in_batches(apply, machine.tensor(images)))

    return Applied(n_features, make)


def backbone_digest(path: Path) -> str:
    """What pins a folder with a pretrained model: the digests of its weights.

    Raises
    ------
    FileNotFoundError
        There is no such folder, or no safetensors file in it.
    """
    weights = sorted(path.glob("*.safetensors"))
    if not (path / "config.json").is_file() or not weights:
        raise FileNotFoundError(
            f"{path} is no folder with config.json and *.safetensors, as save_pretrained writes it; no pickle is read"
        )
    return "-".join(file_digest(each) for each in weights)


def load_backbone(path: Path, digest: str) -> "Pretrained":
    """The pretrained model of a folder, of these very weights; only safetensors are read, and no code of the folder's.

    Raises
    ------
    ImportError
        The extra is not installed.
    ValueError
        The weights are others, or the folder holds no vision model.
    """
    found = backbone_digest(path)
    if found != digest:
        raise ValueError(f"the weights in {path} have digest {found}, and features were made with {digest}")
    try:
        from transformers import AutoModel
        from transformers.utils import logging as transformers_log
    except ImportError as error:
        raise ImportError('pretrained backbones need transformers; pip install "peculiar[pretrained]"') from error
    from peculiar.networks.pretrained import IMAGENET_MEAN, IMAGENET_STD, Pretrained

    transformers_log.disable_progress_bar()  # type: ignore[no-untyped-call]
    safe = {"local_files_only": True, "use_safetensors": True, "trust_remote_code": False}
    try:
        model = AutoModel.from_pretrained(path, **safe)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} cannot be opened as a model of Hugging Face's: {error}") from error
    if getattr(model, "main_input_name", "") != "pixel_values":
        raise ValueError(f"{path} holds {type(model).__name__}, which sees no images; give a vision model")
    described = path / "preprocessor_config.json"
    said = json.loads(described.read_text(encoding="utf-8")) if described.is_file() else {}
    network = Pretrained(
        model,
        size=int(getattr(model.config, "image_size", 224)),
        mean=said.get("image_mean", IMAGENET_MEAN),
        deviation=said.get("image_std", IMAGENET_STD),
    )
    return network.requires_grad_(False).eval()


def scan_vectors(table: Table, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ids and vectors, float32 (n, n_features), of all rows of a table of vectors, a batch at a time."""
    for batch in table.scan(["object_id", "vector"], batch_size=batch_size):
        yield batch["object_id"].to_numpy().astype(np.int64), vectors_of(batch["vector"])


def take_vectors(table: Table, object_ids: np.ndarray) -> np.ndarray:
    """Vectors of these objects in a table of vectors, float32 (n, n_features), in the order asked for."""
    return vectors_of(table.take(object_ids, ["vector"])["vector"])


def vectors_of(column: Any) -> np.ndarray:
    """An Arrow column of fixed-size lists, in one piece or in chunks, as one array, float32 (n, n_features)."""
    whole = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    flat: np.ndarray = whole.flatten().to_numpy(zero_copy_only=False)
    return flat.astype(np.float32, copy=False).reshape(len(column), whole.type.list_size)


def default_features(folder: Path, *, is_of_images: bool = False) -> str:
    """The feature set that is meant where none is named: self-supervised, residual, or the only one; empty for none.

    With `is_of_images`, of those that can be made of an image alone.

    Raises
    ------
    ValueError
        There are several, and none of these names.
    """
    there = feature_sets(folder)
    for name in ("self-supervised", "image", "critic") if is_of_images else ("self-supervised", "residual"):
        if name in there:
            return name
    if len(there) > 1:
        raise ValueError(f"name one of the feature sets, as there are several: {', '.join(there)}")
    return "".join(there)


def feature_sets(folder: Path) -> list[str]:
    """Names of the complete feature sets of an atlas."""
    return sorted(path.parent.name for path in (folder / "features").glob("*/run.json"))
