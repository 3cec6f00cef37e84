import warnings
import zlib
from io import BytesIO

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from peculiar.io.entries import ReadOptions, Unfit
from peculiar.io.images import decode
from peculiar.io.readers import Entry, Loaded, Rejected, list_entries, read_many

RGB = np.random.default_rng(2).integers(0, 256, (48, 40, 3), np.uint8)
OPTIONS = ReadOptions()


def encoded(image: Image.Image, kind: str, **options) -> BytesIO:
    file = BytesIO()
    image.save(file, kind, **options)
    return BytesIO(file.getvalue())


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_lossless_color_is_exact(kind):
    file = encoded(Image.fromarray(RGB), kind, **({"lossless": True} if kind == "WEBP" else {}))
    np.testing.assert_array_equal(decode(file, OPTIONS), RGB)


def test_grey_has_one_channel_and_palettes_have_three():
    grey = decode(encoded(Image.fromarray(RGB[..., 0]), "PNG"), OPTIONS)
    np.testing.assert_array_equal(grey, RGB[..., :1])
    palette = Image.fromarray(RGB).convert("P")
    np.testing.assert_array_equal(decode(encoded(palette, "PNG"), OPTIONS), np.asarray(palette.convert("RGB")))
    assert decode(encoded(Image.fromarray(RGB).convert("CMYK"), "TIFF"), OPTIONS).shape == (48, 40, 3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_upper_eight(kind):
    levels = (RGB[..., 0].astype(np.uint16) << 8) + 77
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(levels), kind), OPTIONS), RGB[..., :1])


def test_what_is_transparent_is_black():
    levels = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)])
    levels[:10, :, 3] = 0
    pixels = decode(encoded(Image.fromarray(levels), "PNG"), OPTIONS)
    assert not pixels[:10].any()
    np.testing.assert_array_equal(pixels[10:], RGB[10:])


def test_grey_with_transparency_has_one_channel():
    levels = np.dstack([RGB[..., 0], np.full(RGB.shape[:2], 255, np.uint8)])
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(levels), "PNG"), OPTIONS), RGB[..., :1])


def test_float_tiff_is_flux():
    flux = np.random.default_rng(3).normal(size=(48, 40)).astype(np.float32)
    pixels = decode(encoded(Image.fromarray(flux), "TIFF"), OPTIONS)
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, flux[None])


def test_exif_rotation_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(encoded(Image.fromarray(RGB), "JPEG", exif=exif), OPTIONS).shape == RGB.shape


def test_several_frames_are_refused():
    frames = [Image.fromarray(RGB), Image.fromarray(RGB[::-1])]
    with pytest.raises(Unfit) as raised:
        decode(encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]), OPTIONS)
    assert raised.value.rule == "several frames"


@pytest.mark.parametrize("side", [9_000, 100_000])
def test_bombs_are_refused_by_their_header(side):
    data = bytearray(encoded(Image.fromarray(RGB), "PNG").getvalue())
    data[16:24] = side.to_bytes(4, "big") * 2  # IHDR; its checksum, which Pillow checks, follows
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Unfit) as raised:
            decode(BytesIO(bytes(data)), OPTIONS)
    assert raised.value.rule == "too large"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff", "webp", "fits", "npy", "npz", "h5", "parquet"])
def test_altered_files_never_raise(kind, data, tmp_path):
    good = (tmp_path / f"good.{kind}").read_bytes() if (tmp_path / f"good.{kind}").exists() else written(kind, tmp_path)
    start = data.draw(st.one_of(st.integers(0, min(len(good), 600)), st.integers(0, len(good))))
    change = data.draw(st.binary(max_size=12))
    cut = data.draw(st.booleans())
    path = tmp_path / f"bad.{kind}"
    path.write_bytes(good[:start] + change + (b"" if cut else good[start + len(change) :]))
    entries = list(list_entries(path, OPTIONS))[:5]
    results = read_many(entries, OPTIONS)
    assert len(results) == len(entries)
    assert all(isinstance(result, Loaded | Rejected) for result in results)


def written(kind: str, folder) -> bytes:
    path = folder / f"good.{kind}"
    square = RGB[:40]
    if kind in ("png", "jpeg", "tiff", "webp"):
        Image.fromarray(square).save(path, kind)
    elif kind == "fits":
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(square[..., 0].astype(">f4"), name="I")]).writeto(path)
    elif kind == "npy":
        np.save(path, square[None])
    elif kind == "npz":
        np.savez_compressed(path, images=square[None], object_ids=[5])
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file["images"], file["object_ids"] = square[None], [5]
    else:
        png = encoded(Image.fromarray(square), "PNG").getvalue()
        pq.write_table(pa.table({"image": pa.array([png], pa.binary()), "object_id": [5]}), path)
    (loaded,) = read_many([Entry("x", str(path), None if kind not in ("npy", "npz", "h5", "parquet") else 0)], OPTIONS)
    assert isinstance(loaded, Loaded), loaded
    return path.read_bytes()
