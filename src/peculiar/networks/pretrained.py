"""A backbone that others trained, as an encoder of our images: brought to its size, colors and normalization."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from peculiar.networks.blocks import resized

COLORS = 3
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what most backbones were trained with


class Pretrained(nn.Module):
    """A vision model of Hugging Face's, of one or three channels of input.

    Parameters
    ----------
    model
        Gives `pooler_output`, or else the mean of `last_hidden_state` over all places.
    size
        Pixels that images are brought to.
    mean, deviation
        Of the colors that it was trained on, 0 to 1.
    """

    def __init__(self, model: nn.Module, *, size: int, mean: Sequence[float], deviation: Sequence[float]) -> None:
        super().__init__()
        self.model, self.size = model, size
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(-1, 1, 1))

    def features(self, images: Float[Tensor, "n channels size size"]) -> Float[Tensor, "n n_features"]:
        """One vector an image; a single channel is shown as gray.

        Raises
        ------
        ValueError
            The images have neither one channel nor three.
        """
        if images.shape[1] not in (1, COLORS):
            raise ValueError(f"a pretrained backbone sees images of 1 or 3 channels, got {images.shape[1]}")
        colored = images.expand(-1, COLORS, -1, -1)
        seen = (resized(colored, self.size) - self.get_buffer("mean")) / self.get_buffer("deviation")
        found = self.model(pixel_values=seen)
        pooled = getattr(found, "pooler_output", None)
        if pooled is None:
            last: Tensor = found.last_hidden_state  # (n, places, d), or (n, d, rows, columns)
            pooled = last.mean(1) if last.ndim == COLORS else last.mean((2, 3))
        flat: Tensor = pooled.flatten(1).float()
        return flat
