"""JPEG, PNG, TIFF and WebP to pixels."""

from io import BytesIO

import numpy as np
from PIL import Image, ImageFile

from peculiar.io.entries import ReadOptions, Unfit, check_shape

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP")  # Pillow's others stay shut: one of them starts Ghostscript


def decode(file: str | BytesIO, options: ReadOptions) -> np.ndarray:
    """Decode one image file; its header is checked before its pixels.

    Returns
    -------
    ``uint8 (height, width, channels)``: grey files have one channel; palettes, CMYK and YCbCr become RGB; 16 bits keep
    their upper 8; what is transparent is laid on black, the sky. Or ``float32 (1, height, width)``, flux, of TIFFs of
    floats or of 32-bit integers, which have no brightest value to scale by.

    Notes
    -----
    The rotation that a JPEG's EXIF asks for is ignored: north stays where the pixels have it.
    """
    try:
        with Image.open(file, formats=FORMATS) as image:
            check_shape(image.height, image.width, options)
            if (n_frames := getattr(image, "n_frames", 1)) > 1:
                raise Unfit("several frames", n_frames, f"holds {n_frames} frames; write one image a file")
            return _pixels(image)
    except Image.DecompressionBombError as error:
        text = f"is beyond what is decoded ({error}); cut it to the object"
        raise Unfit("too large", str(error), text) from error


def _pixels(image: ImageFile.ImageFile) -> np.ndarray:
    mode = image.mode
    is_16_bit = mode.startswith("I;16") or (mode == "I" and image.format == "PNG")  # the latter: Pillow before 11
    if is_16_bit:
        return (np.asarray(image) >> 8).astype(np.uint8)[..., None]
    if mode in ("I", "F"):
        return np.asarray(image, np.float32)[None]
    is_grey = mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        levels = np.asarray(image.convert("LA" if is_grey else "RGBA"), np.uint16)
        return ((levels[..., :-1] * levels[..., -1:] + 127) // 255).astype(np.uint8)
    levels = np.array(image.convert("L" if is_grey else "RGB"))
    return levels[..., None] if is_grey else levels
