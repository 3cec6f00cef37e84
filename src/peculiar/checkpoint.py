"""Networks on disk: safetensors for the numbers, JSON for the rest. No pickle."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peculiar.run import atomic

if TYPE_CHECKING:
    from torch import Tensor


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
