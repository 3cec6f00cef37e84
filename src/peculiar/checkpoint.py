"""Networks on disk: safetensors for the numbers, JSON for the rest. No pickle."""

import csv
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from peculiar.run import atomic

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    Network = TypeVar("Network", bound=nn.Module)


def save_tensors(path: Path, tensors: Mapping[str, "Tensor"], *, metadata: Mapping[str, Any] | None = None) -> None:
    """Write tensors so that a reader sees all of them or the file before. `metadata` is any JSON."""
    from safetensors.torch import save_file

    # Channels-last weights are written in the plain order; networks take up their own order when placed.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic(path) as partial:
        save_file(plain, partial, metadata={"peculiar": json.dumps(dict(metadata or {}))})


def load_tensors(path: Path) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
    """Tensors and metadata of a file that `save_tensors` wrote.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        The file is damaged or not of this kind.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        raise FileNotFoundError(f"no network file {path}; train it first")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = (file.metadata() or {}).get("peculiar", "{}")
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(metadata)  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file ({error}); train again or restore it") from error


def file_digest(path: Path) -> str:
    """BLAKE2b of a file's bytes, 32 hexadecimal digits: what a record pins a network by."""
    if not path.exists():
        raise FileNotFoundError(f"no network file {path}; train it first")
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def load_network(path: Path, which: str, build: "Callable[..., Network]") -> "Network":
    """One network of a checkpoint, built by its class and frozen for use."""
    tensors, metadata = load_tensors(path)
    network = build(**metadata["networks"][which])
    prefix = f"{which}."
    network.load_state_dict(
        {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    )
    return network.requires_grad_(False).eval()


def load_pinned(path: Path, digest: str, which: str, build: "Callable[..., Network]") -> "Network":
    """`load_network`, of the very file that a record names.

    Raises
    ------
    ValueError
        The file's digest is another one; both are named.
    """
    found = file_digest(path)
    if found != digest:
        raise ValueError(
            f"{path} has digest {found}, and the scores were made with {digest}; "
            "restore that file, or score again with --replace"
        )
    return load_network(path, which, build)


class TrainingFolder:
    """What training leaves in `networks/<name>/`.

    `state.safetensors` to go on from, `checkpoints/<step>.safetensors` to score with, `metrics.csv`, TensorBoard events
    in `events/`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state_path = folder / "state.safetensors"
        self.metrics_path = folder / "metrics.csv"
        self._events: Any = None

    def checkpoint_path(self, step: int = 0) -> Path:
        """The networks after `step` iterations; 0 for the newest.

        Raises
        ------
        FileNotFoundError
            There is no such checkpoint; those that there are are named.
        """
        steps = self.steps()
        if not steps:
            raise FileNotFoundError(f"no checkpoint in {self.folder}; train it first")
        if step and step not in steps:
            raise FileNotFoundError(f"no checkpoint {step} in {self.folder}; there are {', '.join(map(str, steps))}")
        return self._path(step or steps[-1])

    def steps(self) -> list[int]:
        """Iterations that there are checkpoints of, ascending."""
        found = (self.folder / "checkpoints").glob("*.safetensors")
        return sorted(int(path.stem) for path in found if path.stem.isdigit())  # a kill leaves parts of others

    def _path(self, step: int) -> Path:
        return self.folder / "checkpoints" / f"{step:08d}.safetensors"

    def save(
        self,
        step: int,
        state: "Mapping[str, Tensor]",
        networks: "Mapping[str, nn.Module]",
        forms: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Write a checkpoint, then the state: a kill between them costs nothing. `forms` rebuild the networks."""
        path = self._path(step)
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"{which}.{name}": tensor
            for which, network in networks.items()
            for name, tensor in network.state_dict().items()
        }
        save_tensors(path, tensors, metadata={"step": step, "networks": forms})
        save_tensors(self.state_path, state, metadata={"step": step})

    def restore(self) -> "tuple[int, dict[str, Tensor]]":
        """The step and state to go on from; 0 and nothing at the start. Metrics of lost steps are dropped."""
        if not self.state_path.exists():
            self.metrics_path.unlink(missing_ok=True)
            return 0, {}
        tensors, metadata = load_tensors(self.state_path)
        step = int(metadata["step"])
        if self.metrics_path.exists():
            rows = [row for row in self.metrics() if int(row["step"]) <= step]
            with atomic(self.metrics_path) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
                if rows:
                    writer = csv.DictWriter(stream, rows[0])
                    writer.writeheader()
                    writer.writerows(rows)
        return step, tensors

    def metrics(self) -> list[dict[str, str]]:
        """Rows of `metrics.csv`."""
        if not self.metrics_path.exists():
            return []
        with self.metrics_path.open(newline="", encoding="utf-8") as stream:
            # A kill can leave half a line.
            return [row for row in csv.DictReader(stream) if None not in row.values()]

    def curves(self) -> "dict[str, np.ndarray]":
        """Columns of `metrics.csv`, the step among them; empty before the first row."""
        import numpy as np

        rows = self.metrics()
        return {name: np.array([float(row[name]) for row in rows]) for name in (rows[0] if rows else ())}

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append a row to `metrics.csv`, and to TensorBoard's events."""
        row = {"step": step, **{name: f"{value:.7g}" for name, value in metrics.items()}}
        is_new = not self.metrics_path.exists() or not self.metrics_path.stat().st_size
        with self.metrics_path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, row)
            if is_new:
                writer.writeheader()
            writer.writerow(row)
        if self._events is None:
            from tensorboardX import SummaryWriter

            self._events = SummaryWriter(str(self.folder / "events"), purge_step=step)
        for name, value in metrics.items():
            self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Finish the events file."""
        if self._events is not None:
            self._events.close()
