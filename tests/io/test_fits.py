from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.visualization import make_lupton_rgb
from astropy.wcs import WCS
from numpy.testing import assert_array_equal

from peculiar.io.bands import match_band
from peculiar.io.entries import Unfit
from peculiar.io.readers import Loaded, ReadOptions, Rejected, list_entries, read_many

DATA = Path(__file__).parents[3] / "shared" / "data" / "flux"
BANDS = ("i", "r", "g")
RANDOM = np.random.default_rng(4)
CUBE = RANDOM.normal(1.0, 1.0, (3, 64, 64)).astype(np.float32)


@pytest.fixture
def flux_data() -> Path:
    if not DATA.exists():
        pytest.skip(f"no real data in {DATA}")
    return DATA


def write(path: Path, planes: dict[str, np.ndarray], kind=fits.ImageHDU, **options) -> Path:
    fits.HDUList([fits.PrimaryHDU(), *(kind(plane, name=name) for name, plane in planes.items())]).writeto(path)
    return path


def read_one(path: Path, options: ReadOptions, catalog=None) -> Loaded | Rejected:
    (result,) = read_many(list(list_entries(path, options, catalog)), options)
    return result


def loaded(result: Loaded | Rejected) -> Loaded:
    assert isinstance(result, Loaded), result
    return result


def rule(result: Loaded | Rejected) -> str:
    assert isinstance(result, Rejected), result
    assert result.reason.startswith(result.source + ": ")
    return result.rule


@pytest.mark.parametrize("name", ["a.fits", "a.fit", "a.fits.gz"])
def test_extensions_are_put_into_color_order(tmp_path, name):
    path = write(tmp_path / name, {"HSC-G": CUBE[2], "HSC-R": CUBE[1], "HSC-I": CUBE[0], "PSF-I": CUBE[0, :41, :41]})
    for bands in (BANDS, ("HSC-I", "hsc-r", "G")):
        result = loaded(read_one(path, ReadOptions(bands=bands, keep_flux=True)))
        assert_array_equal(result.flux, CUBE)
        assert result.image.shape == (64, 64, 3)


def test_compressed_images_are_read(tmp_path):
    path = write(tmp_path / "a.fits.fz", {"I": CUBE[0], "R": CUBE[1], "G": CUBE[2]}, fits.CompImageHDU)
    result = loaded(read_one(path, ReadOptions(bands=BANDS, keep_flux=True)))
    np.testing.assert_allclose(result.flux, CUBE, atol=0.5)  # quantized by a fraction of the noise


def test_several_extensions_without_bands_are_no_color(tmp_path):
    path = write(tmp_path / "a.fits", {"G": CUBE[2], "R": CUBE[1], "I": CUBE[0]})
    result = read_one(path, ReadOptions())
    assert rule(result) == "ambiguous bands"
    assert "G, R, I" in result.reason
    assert "--bands" in result.reason


def test_a_missing_band_is_named(tmp_path):
    result = read_one(write(tmp_path / "a.fits", {"G": CUBE[2], "R": CUBE[1]}), ReadOptions(bands=BANDS))
    assert (rule(result), result.value) == ("missing band", "i")


def test_cubes_are_ordered_by_number_or_by_their_bands_keyword(tmp_path):
    plain, named = tmp_path / "plain.fits", tmp_path / "named.fits"
    fits.PrimaryHDU(CUBE).writeto(plain)
    fits.PrimaryHDU(CUBE, fits.Header({"BANDS": "gri"})).writeto(named)
    assert_array_equal(loaded(read_one(plain, ReadOptions(keep_flux=True))).flux, CUBE)
    assert_array_equal(loaded(read_one(plain, ReadOptions(bands=("2", "1"), keep_flux=True))).flux, CUBE[[2, 1]])
    assert_array_equal(loaded(read_one(named, ReadOptions(bands=BANDS, keep_flux=True))).flux, CUBE[::-1])
    assert rule(read_one(plain, ReadOptions(bands=BANDS))) == "ambiguous bands"
    assert rule(read_one(plain, ReadOptions(bands=("3",)))) == "missing band"


def test_companions_of_a_single_image_are_passed_over(tmp_path):
    cube = [fits.PrimaryHDU(CUBE, fits.Header({"BANDS": "gri"})), fits.ImageHDU(CUBE * 0 + 1, name="INVVAR")]
    fits.HDUList(cube).writeto(tmp_path / "cube.fits")
    assert_array_equal(
        loaded(read_one(tmp_path / "cube.fits", ReadOptions(bands=BANDS, keep_flux=True))).flux, CUBE[::-1]
    )
    path = write(tmp_path / "hsc.fits", {"IMAGE": CUBE[0], "MASK": CUBE[1], "VARIANCE": CUBE[2]})
    for bands in (None, ("HSC-I",)):
        assert_array_equal(loaded(read_one(path, ReadOptions(bands=bands, keep_flux=True))).flux, CUBE[:1])
    result = read_one(path, ReadOptions(bands=BANDS))
    assert rule(result) == "missing band"
    assert "--band-pattern" in result.reason


@pytest.mark.parametrize("pattern", ["{name}_{band}.fits", "{band}/{name}.fits"])
def test_one_file_a_band_is_one_object(tmp_path, pattern):
    options = ReadOptions(bands=BANDS, band_pattern=pattern, keep_flux=True, ids="name")
    for name in ("12345678901234567", "8"):
        for band, plane in zip(BANDS, CUBE, strict=True):
            path = tmp_path / pattern.format(name=name, band=band)
            path.parent.mkdir(exist_ok=True)
            fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(plane), fits.ImageHDU(plane * 0, name="MASK")]).writeto(path)
    (tmp_path / pattern.format(name="8", band="i")).unlink()
    entries = list(list_entries(tmp_path, options))
    assert sorted(entry.source for entry in entries) == ["12345678901234567", "8"]
    whole, broken = read_many(sorted(entries, key=lambda entry: entry.source), options)
    assert whole.entry.object_id == 12345678901234567
    assert_array_equal(whole.flux, CUBE)
    assert (rule(broken), broken.value, broken.object_id) == ("missing band", "i", 8)


def test_integers_are_floats_before_the_stretch(tmp_path):
    counts = (CUBE[0] * 100).astype(np.int16)
    counts[0, 0] = -32768
    hdu = fits.PrimaryHDU(counts)
    hdu.header["BSCALE"], hdu.header["BZERO"], hdu.header["BLANK"] = 0.01, 5.0, -32768
    hdu.writeto(tmp_path / "a.fits")
    flux = loaded(read_one(tmp_path / "a.fits", ReadOptions(keep_flux=True))).flux
    assert np.isnan(flux[0, 0, 0])
    np.testing.assert_allclose(flux[0, 1:], counts[1:] * 0.01 + 5.0, rtol=1e-5)


def test_bad_fits_files_are_named_by_rule(tmp_path):
    good = write(tmp_path / "good.fits", {"I": CUBE[0], "R": CUBE[1], "G": CUBE[2]}).read_bytes()
    (tmp_path / "a_cut_pixels.fits").write_bytes(good[:-9000])
    (tmp_path / "b_cut_header.fits").write_bytes(good[: 2880 * 2 + 16384 + 2880 * 2 + 500])
    (tmp_path / "c_text.fits").write_text("hello")
    (tmp_path / "d_empty.fits").write_bytes(b"")
    write(tmp_path / "e_nan.fits", {"I": CUBE[0], "R": CUBE[1] * np.nan, "G": CUBE[2]})
    write(tmp_path / "f_constant.fits", {name: np.ones((64, 64), "f4") for name in "IRG"})
    write(tmp_path / "g_shapes.fits", {"I": CUBE[0], "R": CUBE[1, :60], "G": CUBE[2]})
    write(tmp_path / "h_small.fits", dict.fromkeys("IRG", CUBE[0, :31, :31]))
    write(tmp_path / "i_long.fits", dict.fromkeys("IRG", CUBE[0, :40]))
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([])]).writeto(tmp_path / "j_table.fits")
    write(tmp_path / "k_dark.fits", {name: -np.abs(CUBE[0]) for name in "IRG"})
    options = ReadOptions(bands=BANDS)
    results = read_many(list(list_entries(tmp_path, options)), options)
    rules = {r.source: r.rule for r in results if isinstance(r, Rejected)}
    assert rules == {
        "a_cut_pixels.fits": "unreadable",
        "b_cut_header.fits": "unreadable",
        "c_text.fits": "unreadable",
        "d_empty.fits": "empty file",
        "e_nan.fits": "no finite pixel",
        "f_constant.fits": "constant image",
        "g_shapes.fits": "wrong size",
        "h_small.fits": "too small",
        "i_long.fits": "not square",
        "j_table.fits": "no image",
        "k_dark.fits": "constant image",
    }
    assert next(r for r in results if r.source == "e_nan.fits").value == "r"


def test_companions_are_found_by_their_whole_name_only():
    labels = [["HSC-I"], ["PSF-I"], ["VAR-I"]]
    assert match_band("i", labels) == 0
    assert match_band("psf-i", labels) == 1
    with pytest.raises(Unfit, match="ambiguous"):
        match_band("i", [["HSC-I"], ["SDSS-I"]])


def test_real_hsc_cubes_equal_astropys_lupton(flux_data):
    options = ReadOptions(bands=BANDS, size=48, fit="crop", keep_flux=True)
    results = read_many(list(list_entries(flux_data / "hsc", options)), options)
    assert len(results) == 6
    for result in map(loaded, results):
        expected = make_lupton_rgb(*result.flux, stretch=0.5, Q=15)
        assert np.abs(result.image.astype(int) - expected).max() <= 1
    with fits.open(flux_data / "hsc" / "hsc_lsbg_191.fits") as hdus:
        assert_array_equal(results[-2].flux[2], hdus["HSC-G"].data[71:119, 71:119])


def test_real_decals_bands_are_found_by_their_header(flux_data):
    path = flux_data / "decals" / "cutout_59.1067_-30.4848.fits"
    result = loaded(read_one(path, ReadOptions(bands=("z", "r", "g"), keep_flux=True)))
    with fits.open(path) as hdus:
        assert [hdus[i].header["BAND"] + hdus[i].header["IMAGETYP"] for i in (1, 3, 5)] == [
            "gimage",
            "rimage",
            "zimage",
        ]
        assert_array_equal(result.flux, [hdus[i].data for i in (5, 3, 1)])


def positions(*rows) -> pa.Table:
    ids, ra, dec = zip(*rows, strict=True)
    return pa.table({"object_id": pa.array(ids, pa.int64()), "ra": pa.array(ra, pa.float64()), "dec": list(dec)})


@pytest.mark.filterwarnings("ignore:Invalid 'BLANK' keyword")  # where the test opens the field itself
@pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")
def test_objects_are_cut_out_of_real_fields(flux_data):
    options = ReadOptions(bands=BANDS, size=48, is_field=True, keep_flux=True, stretch_width=0.1)
    with fits.open(flux_data / "sdss" / "reprojected_sdss_r.fits") as hdus:
        field, wcs = np.asarray(hdus[0].data), WCS(hdus[0].header)
    inside, corner = wcs.all_pix2world([[300.0, 200.0], [2.0, 2.0]], 0).tolist()
    rows = [(2**60 + 1, *inside), (-5, *corner), (7, 10.0, 80.0), (8, None, 1.0), (9, *inside)]
    entries = list(list_entries(flux_data / "sdss", options, positions(*rows)))
    assert [entry.source for entry in entries] == [f"field#{row[0]}" for row in rows]
    results = read_many(entries, options)
    assert_array_equal(loaded(results[0]).flux[1], field[176:224, 276:324])
    assert results[0].entry.object_id == 2**60 + 1
    assert [rule(r) for r in results[1:4]] == ["outside field", "outside field", "no position"]
    assert_array_equal(results[4].image, results[0].image)


def test_the_tile_that_holds_an_object_is_found(tmp_path):
    for name, ra in (("a", 10.0), ("b", 11.0)):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [ra, 0.0], [100.5, 100.5]
        wcs.wcs.cdelt = [-1e-4, 1e-4]
        for i, band in enumerate(BANDS):
            data = np.full((200, 200), ra + i, np.float32) + np.indices((200, 200), np.float32)[0]
            fits.PrimaryHDU(data, wcs.to_header()).writeto(tmp_path / f"{name}-{band}.fits")
    options = ReadOptions(bands=BANDS, band_pattern="{name}-{band}.fits", size=40, is_field=True, keep_flux=True)
    entries = list(list_entries(tmp_path, options, positions((1, 11.0, 0.0), (2, 10.0, 0.0), (3, 10.5, 0.0))))
    first, second, third = read_many(entries, options)
    assert_array_equal(loaded(first).flux[:, 0, 0], [91.0, 92.0, 93.0])
    assert_array_equal(loaded(second).flux[:, 0, 0], [90.0, 91.0, 92.0])
    assert rule(third) == "outside field"


def test_bands_of_other_pixel_scales_are_refused(tmp_path):
    for band, scale in (("r", 1e-4), ("g", 1.02e-4)):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [9.0, 0.0], [50.5, 50.5]
        wcs.wcs.cdelt = [-scale, scale]
        fits.PrimaryHDU(CUBE[0].repeat(2, 0).repeat(2, 1), wcs.to_header()).writeto(tmp_path / f"f_{band}.fits")
    result = read_one(tmp_path, ReadOptions(bands=("r", "g"), size=40, is_field=True), positions((1, 9.0, 0.0)))
    assert (rule(result), result.value) == ("wrong pixel scale", "0.3600, 0.3672")


def test_positions_are_turned_into_the_frame_of_the_field(tmp_path):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["GLON-TAN", "GLAT-TAN"], [120.0, 30.0], [100.5, 100.5]
    wcs.wcs.cdelt = [-1e-4, 1e-4]
    data = RANDOM.normal(size=(200, 200)).astype(np.float32)
    fits.PrimaryHDU(data, wcs.to_header()).writeto(tmp_path / "field.fits")
    center = SkyCoord(120.0, 30.0, unit="deg", frame="galactic").icrs
    options = ReadOptions(bands=("r",), size=40, is_field=True, keep_flux=True)
    result = read_one(tmp_path / "field.fits", options, positions((1, center.ra.deg, center.dec.deg)))
    assert_array_equal(loaded(result).flux[0], data[80:120, 80:120])


def test_patterns_are_for_fits(tmp_path):
    with pytest.raises(ValueError, match="must end in"):
        list_entries(tmp_path, ReadOptions(bands=BANDS, band_pattern="{name}_{band}.png"))


def test_fields_need_positions(tmp_path):
    options = ReadOptions(bands=BANDS, size=48, is_field=True)
    with pytest.raises(ValueError, match="no catalog was given"):
        list_entries(tmp_path, options)
    with pytest.raises(ValueError, match="no dec, ra"):
        list_entries(tmp_path, options, pa.table({"object_id": [1]}))
    (result,) = read_many(list(list_entries(tmp_path, options, positions((1, 1.0, 2.0)))), options)
    assert rule(result) == "missing band"
