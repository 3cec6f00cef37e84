import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units
from astropy.io import fits
from astropy.table import Table
from numpy.testing import assert_allclose, assert_array_equal

from peculiar.io.spectra import read_spectrum, write_spectrum
from peculiar.io.spectra.finish import FWHM_OF_SIGMA
from peculiar.io.spectra.surveys import resolution_sigma
from peculiar.io.spectra.units import air_to_vacuum
from peculiar.spectra.spectrum import LINES, SPEED_OF_LIGHT

RANDOM = np.random.default_rng(7)
N = 300
WAVE = np.linspace(4800.0, 6800.0, N)
FLUX = 5 + RANDOM.normal(0, 0.5, N)
ERR = np.full(N, 0.5)
UNIT = "1e-17 erg/s/cm2/Angstrom"
CGS = units.Unit("erg / (Angstrom s cm2)")


def fits_table(path: Path, *, header=None, column_units=None, **columns) -> Path:
    table = fits.BinTableHDU(Table({name: np.asarray(values) for name, values in columns.items()}))
    for number, name in enumerate(columns, start=1):
        if name in (column_units or {}):
            table.header[f"TUNIT{number}"] = column_units[name]
    table.header.update(header or {})
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    return path


def plain(path: Path, **changes) -> Path:
    """A FITS table that needs nothing said: vacuum, angstrom, per angstrom."""
    columns = {"wave": WAVE, "flux": FLUX, "ivar": ERR**-2} | changes
    return fits_table(
        path / "plain.fits", header={"VACUUM": True}, column_units={"wave": "Angstrom", "flux": UNIT}, **columns
    )


def text(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def rows(*columns, separator=" ") -> str:
    return "\n".join(separator.join(f"{value:.10g}" for value in row) for row in zip(*columns, strict=True)) + "\n"


# --- air and vacuum, units


def test_air_becomes_vacuum_as_in_published_line_lists():
    # NIST, Atomic Spectra Database: air and vacuum wavelengths of the same lines
    air = np.array([4861.333, 5006.843, 6562.80, 6583.45, 6716.44])
    names = ["H_beta", "OIII_5008", "H_alpha", "NII_6585", "SII_6718"]
    assert_allclose(air_to_vacuum(air), [LINES[name] for name in names], atol=0.03)
    assert_allclose(air_to_vacuum(np.array([5889.9509])), 5891.5833, atol=5e-4)  # the sodium line D2


def test_air_becomes_vacuum_as_by_an_independent_formula():
    vacuum = np.linspace(3000.0, 11000.0, 500)
    s = (1e4 / vacuum) ** 2  # Morton (2000, ApJS 130, 403, eq. 8), from vacuum to air
    air = vacuum / (1 + 8.34254e-5 + 2.406147e-2 / (130 - s) + 1.5998e-4 / (38.9 - s))
    assert np.abs(air_to_vacuum(air) / vacuum - 1).max() * SPEED_OF_LIGHT < 0.01  # km/s


def test_air_becomes_vacuum_as_in_specutils():
    wcs_utils = pytest.importorskip("specutils.utils.wcs_utils")
    air = np.linspace(2100.0, 20000.0, 300)
    theirs = wcs_utils.air_to_vac(air * units.AA, scheme="iteration", method="Ciddor1996")
    assert_allclose(air_to_vacuum(air), theirs.value, rtol=1e-11)


def test_wavelengths_below_2000_angstrom_are_never_in_air():
    assert_array_equal(air_to_vacuum(np.array([1215.67, 1999.0])), [1215.67, 1999.0])


def test_the_medium_that_nobody_knows_is_asked_for_with_the_size_of_the_error(tmp_path):
    path = fits_table(tmp_path / "x.fits", column_units={"wave": "Angstrom"}, wave=WAVE, flux=FLUX, err=ERR)
    with pytest.raises(ValueError, match=r"x\.fits .*--medium vacuum or --medium air.*83 km/s"):
        read_spectrum(path)
    in_vacuum, in_air = (read_spectrum(path, medium=each) for each in ("vacuum", "air"))
    assert_array_equal(in_vacuum.wavelength, WAVE)
    assert_allclose(in_air.wavelength, air_to_vacuum(WAVE))
    assert "said by the caller" in in_air.facts["medium"]


@pytest.mark.parametrize(
    ("header", "name", "medium"),
    [
        ({"VACUUM": True}, "wave", "vacuum"),
        ({"VACUUM": False}, "wave", "air"),
        ({"AIRORVAC": "vac"}, "wave", "vacuum"),
        ({"AIRORVAC": "air"}, "wave", "air"),
        ({}, "wave_air", "air"),
        ({}, "wavelength_vac", "vacuum"),
        ({"TUCD1": "em.wl;obs.atmos"}, "wave", "air"),
        ({"TUCD1": "em.wl", "VOPUB": "ESO/SAF"}, "wave", "vacuum"),
    ],
)
def test_the_medium_is_known_from_header_ucd_or_name(tmp_path, header, name, medium):
    columns = {name: WAVE, "flux": FLUX, "err": ERR}
    spectrum = read_spectrum(fits_table(tmp_path / "x.fits", header=header, **columns))
    assert spectrum.facts["medium"].startswith(medium)
    assert_allclose(spectrum.wavelength, air_to_vacuum(WAVE) if medium == "air" else WAVE)


def test_a_ucd_of_wavelength_alone_says_nothing_of_the_medium(tmp_path):
    path = fits_table(tmp_path / "x.fits", header={"TUCD1": "em.wl"}, wave=WAVE, flux=FLUX, err=ERR)
    with pytest.raises(ValueError, match="--medium"):
        read_spectrum(path)


def test_what_the_caller_says_goes_before_the_file_and_both_are_told(tmp_path):
    spectrum = read_spectrum(plain(tmp_path), medium="air", flux_unit="1e-16 erg/s/cm2/A")
    assert "said by the caller; the file says vacuum" in spectrum.facts["medium"]
    assert spectrum.flux_unit == "1e-16 erg / (Angstrom s cm2)"
    assert UNIT in spectrum.facts["flux unit"]


@pytest.mark.parametrize(
    ("unit", "factor"), [("nm", 10), ("um", 1e4), ("Angstroms", 1), ("A", 1), ("micron", 1e4), ("0.1nm", 1)]
)
def test_wavelengths_come_in_angstrom_by_the_unit_of_the_file(tmp_path, unit, factor):
    path = fits_table(tmp_path / "x.fits", column_units={"wave": unit}, wave=WAVE / factor, flux=FLUX, err=ERR)
    assert_allclose(read_spectrum(path, medium="vacuum").wavelength, WAVE)


@pytest.mark.parametrize(("factor", "guess"), [(10, "nm"), (1e4, "um")])
def test_nanometers_and_microns_without_a_unit_are_never_taken_for_angstrom(tmp_path, factor, guess):
    path = text(tmp_path / "x.txt", "wave flux err\n" + rows(WAVE / factor, FLUX, ERR))
    with pytest.raises(ValueError, match=f"--wavelength-unit {guess}"):
        read_spectrum(path, medium="vacuum")
    assert_allclose(read_spectrum(path, medium="vacuum", wavelength_unit=guess).wavelength, WAVE, rtol=1e-8)


def test_logarithms_are_known_by_name_or_asked_for(tmp_path):
    named = fits_table(tmp_path / "a.fits", loglam=np.log10(WAVE), flux=FLUX, err=ERR)
    unnamed = fits_table(tmp_path / "b.fits", wave=np.log10(WAVE), flux=FLUX, err=ERR)
    assert_allclose(read_spectrum(named, medium="vacuum").wavelength, WAVE)
    with pytest.raises(ValueError, match="--wavelength-unit log"):
        read_spectrum(unnamed, medium="vacuum")
    assert_allclose(read_spectrum(unnamed, medium="vacuum", wavelength_unit="log").wavelength, WAVE)
    with pytest.raises(ValueError, match="no logarithms"):
        read_spectrum(plain(tmp_path), wavelength_unit="log")


def test_a_wavelength_that_is_no_length_is_refused(tmp_path):
    path = fits_table(tmp_path / "x.fits", column_units={"wave": "GHz"}, wave=WAVE, flux=FLUX, err=ERR)
    with pytest.raises(ValueError, match="not a length"):
        read_spectrum(path, medium="vacuum")


@pytest.mark.parametrize(
    ("unit", "parsed"),
    [
        (UNIT, 1e-17 * CGS),
        ("erg/s/cm2/A", CGS),
        ("10^-17 ergs/cm^2/s/Ang", 1e-17 * CGS),
        ("erg cm-2 s-1 A-1", CGS),
        ("W/m2/um", units.Unit("W / (m2 um)")),
        ("mJy", units.mJy),
        ("erg/s/cm2/Hz", units.Unit("erg / (s cm2 Hz)")),
    ],
)
def test_fluxes_keep_their_physical_size_whatever_the_unit(tmp_path, unit, parsed):
    path = fits_table(
        tmp_path / "x.fits", column_units={"wave": "nm", "flux": unit}, wave=WAVE / 10, flux=FLUX, err=ERR, model=FLUX
    )
    spectrum = read_spectrum(path, medium="vacuum")
    expected = (FLUX * parsed).to(CGS, equivalencies=units.spectral_density(WAVE * units.AA)).value
    error = (ERR * parsed).to(CGS, equivalencies=units.spectral_density(WAVE * units.AA)).value
    scale = units.Unit(spectrum.flux_unit).to(CGS)
    assert_allclose(spectrum.flux * scale, expected, rtol=1e-10)
    assert_allclose(spectrum.model * scale, expected, rtol=1e-10)
    assert_allclose(scale / np.sqrt(spectrum.ivar), error, rtol=1e-10)


def test_relative_fluxes_have_no_unit_and_unknown_ones_are_asked_for(tmp_path):
    path = fits_table(tmp_path / "x.fits", column_units={"flux": "furlong"}, wave=WAVE, flux=FLUX, err=ERR)
    with pytest.raises(ValueError, match=r"furlong.*--flux-unit"):
        read_spectrum(path, medium="vacuum")
    assert read_spectrum(path, medium="vacuum", flux_unit="relative").flux_unit == ""
    counts = fits_table(tmp_path / "y.fits", column_units={"flux": "adu"}, wave=WAVE, flux=FLUX, err=ERR)
    assert read_spectrum(counts, medium="vacuum").flux_unit == "adu"


# --- errors, masks, order


@pytest.mark.parametrize(
    ("name", "values"), [("ivar", ERR**-2), ("err", ERR), ("sigma", ERR), ("FLUX_ERR", ERR), ("variance", ERR**2)]
)
def test_every_kind_of_error_becomes_inverse_variance(tmp_path, name, values):
    path = fits_table(tmp_path / "x.fits", wave=WAVE, flux=FLUX, **{name: values})
    assert_allclose(read_spectrum(path, medium="vacuum").ivar, 4.0)


def test_pixels_without_error_or_flux_are_masked_and_counted(tmp_path):
    flux, err = FLUX.copy(), ERR.copy()
    flux[[3, 4]], err[[10, 11, 12]] = np.nan, [0, -1, np.nan]
    spectrum = read_spectrum(fits_table(tmp_path / "x.fits", wave=WAVE, flux=flux, err=err), medium="vacuum")
    assert_array_equal(np.flatnonzero(spectrum.ivar == 0), [3, 4, 10, 11, 12])
    assert np.isfinite(spectrum.flux).all()
    assert spectrum.facts["masked"].startswith("5 of 300")
    assert spectrum.facts["no error"].startswith("3 ")
    assert spectrum.facts["no flux"].startswith("2 ")


def test_negative_inverse_variance_is_refused_with_its_least_value(tmp_path):
    ivar = ERR**-2
    ivar[[5, 6]] = -1, -7.5
    with pytest.raises(ValueError, match=r"plain\.fits has 2 pixels of negative ivar, -7\.5 the least"):
        read_spectrum(plain(tmp_path, ivar=ivar))


def test_a_spectrum_of_masked_pixels_only_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no pixel left.*300 of 300 are masked"):
        read_spectrum(plain(tmp_path, is_masked=np.ones(N, bool)))


def test_a_mask_masks_and_one_that_may_mean_the_opposite_is_asked(tmp_path):
    mask = np.zeros(N, np.int16)
    mask[:7] = 1, 2, 4, 8, 1, 1, 1
    few = plain(tmp_path, mask=mask)
    assert_array_equal(read_spectrum(few).ivar == 0, mask > 0)
    assert_array_equal(read_spectrum(few, mask_means="good").ivar > 0, mask > 0)
    few.unlink()
    many = plain(tmp_path, mask=1 - np.minimum(mask, 1))
    with pytest.raises(ValueError, match=r"98 % .*--mask-means good"):
        read_spectrum(many)
    assert_array_equal(read_spectrum(many, mask_means="good").ivar == 0, mask > 0)


def test_pypeit_spectra_are_vacuum_with_a_mask_that_is_1_where_good_and_padded_with_wavelength_0(tmp_path):
    wave, mask = WAVE.copy(), np.ones(N, int)
    wave[-4:], mask[:5] = 0, 0
    header = {"DMODCLS": "OneSpec", "FLUXED": True}
    path = fits_table(tmp_path / "x.fits", header=header, wave=wave, flux=FLUX, ivar=ERR**-2, mask=mask)
    spectrum = read_spectrum(path)
    assert_array_equal(spectrum.wavelength, WAVE[:-4])
    assert_array_equal(np.flatnonzero(spectrum.ivar == 0), np.arange(5))
    assert spectrum.flux_unit == "1e-17 erg / (Angstrom s cm2)"
    assert spectrum.facts["padding"].startswith("4 ")


def test_no_errors_are_never_made_up_but_estimated_when_asked(tmp_path):
    bare = text(tmp_path / "x.csv", "wave,flux\n" + rows(WAVE, FLUX, separator=","))
    with pytest.raises(ValueError, match=r"no column of errors.*--errors scatter"):
        read_spectrum(bare, medium="vacuum")
    spectrum = read_spectrum(bare, medium="vacuum", errors="scatter")
    assert_allclose(np.median(spectrum.ivar**-0.5), 0.5, rtol=0.2)
    assert "estimated" in spectrum.facts["errors"]
    masked = np.where(np.arange(N) % 3 == 0, 1, 0)
    junk = fits_table(tmp_path / "junk.fits", wave=WAVE, flux=np.where(masked, FLUX * 1e6, FLUX), is_masked=masked)
    with pytest.raises(ValueError, match="too short for errors from the scatter"):
        read_spectrum(junk, medium="vacuum", errors="scatter")
    zeros = plain(tmp_path, ivar=np.zeros(N))
    with pytest.raises(ValueError, match=r"no ivar above 0 in 300 pixels.*--errors scatter"):
        read_spectrum(zeros)


def test_descending_wavelengths_are_turned_with_all_that_belongs_to_them(tmp_path):
    up = read_spectrum(plain(tmp_path, model=FLUX + 1))
    (tmp_path / "plain.fits").unlink()
    down = read_spectrum(plain(tmp_path, wave=WAVE[::-1], flux=FLUX[::-1], model=FLUX[::-1] + 1))
    for name in ("wavelength", "flux", "ivar", "model"):
        assert_array_equal(getattr(up, name), getattr(down, name))
    assert "turned" in down.facts["order"]


def test_wavelengths_twice_or_in_disorder_are_refused(tmp_path):
    twice, jumps = WAVE.copy(), WAVE.copy()
    twice[8] = twice[7]
    jumps[[100, 200]] = jumps[[200, 100]]
    with pytest.raises(ValueError, match=r"1 wavelengths twice, 4846\.8"):
        read_spectrum(plain(tmp_path, wave=twice))
    (tmp_path / "plain.fits").unlink()
    with pytest.raises(ValueError, match="neither ascend nor descend"):
        read_spectrum(plain(tmp_path, wave=jumps))


# --- resolution


def test_the_resolution_is_of_the_caller_or_the_file_or_said_to_be_unknown(tmp_path):
    path = plain(tmp_path)
    assert read_spectrum(path).instrument_sigma is None
    assert "not known" in read_spectrum(path).facts["resolution"]
    sigma = read_spectrum(path, resolution=2000).instrument_sigma
    assert_allclose(sigma * np.sqrt(8 * np.log(2)), WAVE / 2000, rtol=1e-4)
    assert_array_equal(read_spectrum(path, instrument_sigma=1.5).instrument_sigma, np.full(N, 1.5))
    header = {"SPEC_RES": 600.0, "VACUUM": True}
    other = fits_table(tmp_path / "x.fits", header=header, wave=WAVE, flux=FLUX, err=ERR)
    assert_allclose(read_spectrum(other).instrument_sigma, WAVE / 600 / FWHM_OF_SIGMA)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"resolution": 2000, "instrument_sigma": 1.0}, "give one of them"),
        ({"resolution": 0}, "resolution must be a number above 0"),
        ({"medium": "water"}, "medium must be one of"),
        ({"errors": "guess"}, "errors must be one of"),
        ({"mask_means": "maybe"}, "mask_means must be one of"),
    ],
)
def test_options_are_checked_before_the_file_is_opened(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        read_spectrum(tmp_path / "none", **options)


# --- text, ECSV, Parquet, images


@pytest.mark.parametrize(
    "content",
    [
        "wave,flux,ivar\n" + rows(WAVE, FLUX, ERR**-2, separator=","),
        "# made by hand\n# wave flux ivar\n" + rows(WAVE, FLUX, ERR**-2),
        "\ufefflambda\tflux\terr\n" + rows(WAVE, FLUX, ERR, separator="\t"),
        "# a comment\n\nWavelength [nm] Flux(1e-17erg/s/cm2/A) Error\n".replace(" [", "[") + rows(WAVE / 10, FLUX, ERR),
    ],
    ids=["csv", "commented header", "tabs and a byte-order mark", "units in the header"],
)
def test_text_with_a_header_line_is_read_whatever_its_name(tmp_path, content):
    path = tmp_path / "spectrum.fits"  # told by content, not by name
    path.write_text(content, encoding="utf-8")
    zipped = tmp_path / "spectrum.txt.gz"
    zipped.write_bytes(gzip.compress(content.encode()))
    for each in (path, zipped):
        spectrum = read_spectrum(each, medium="vacuum")
        assert_allclose(spectrum.wavelength, WAVE, rtol=1e-8)
        assert_allclose(spectrum.flux, FLUX, rtol=1e-8)
        assert_allclose(spectrum.ivar, 4.0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (rows(WAVE, FLUX, ERR), "no header line"),
        ("wave flux err\n1 2 3\n4 5\n", "2 values in row 2"),
        ("wave flux err\n", "no header line|no row"),
        ("# only a comment\n", "no row of a table"),
        ("ra,dec,mag\n1,2,3\n", r"no columns of wavelength and flux \(it has: ra, dec, mag\)"),
        ("wave,flux,err\n5000,1,x\n5001,2,y\n", "column err that is not of numbers"),
        ("wave,flux,err\n5000,1,1\n", "two or more"),
        ("", "empty"),
        ("\0\1\2garbage", "of no kind that is read"),
    ],
)
def test_text_that_is_no_spectrum_is_refused_with_its_name(tmp_path, content, words):
    with pytest.raises(ValueError, match=rf"x\.txt .*({words})"):
        read_spectrum(text(tmp_path / "x.txt", content), medium="vacuum")


def test_ecsv_is_read_with_its_units(tmp_path):
    table = Table({"wavelength": WAVE / 10 * units.nm, "flux": FLUX * units.mJy, "flux_error": ERR * units.mJy})
    table.meta = {"object": "Mrk 1", "RA": 10.5, "DEC": -3.25, "redshift": 0.01, "medium": "air"}
    table.write(tmp_path / "x.ecsv")
    spectrum = read_spectrum(tmp_path / "x.ecsv")
    assert (spectrum.name, spectrum.ra, spectrum.dec, spectrum.redshift) == ("Mrk 1", 10.5, -3.25, 0.01)
    assert_allclose(spectrum.wavelength, air_to_vacuum(WAVE))
    assert spectrum.flux_unit == "1e-17 erg / (Angstrom s cm2)"


def test_what_is_written_is_read_back_to_the_last_bit(tmp_path):
    model = FLUX + 1
    first = read_spectrum(plain(tmp_path, model=model), medium="air", resolution=1800.5)
    write_spectrum(tmp_path / "x.ecsv", first)
    again = read_spectrum(tmp_path / "x.ecsv")
    for name in ("wavelength", "flux", "ivar", "instrument_sigma", "model"):
        assert_array_equal(getattr(first, name), getattr(again, name), strict=True)
    for name in ("flux_unit", "name", "ra", "dec", "redshift"):
        assert getattr(first, name) == getattr(again, name)
    assert again.facts == first.facts


def test_a_parquet_table_is_read_a_row_a_pixel_or_a_row_a_spectrum(tmp_path):
    pq.write_table(pa.table({"wave_vac": WAVE, "flux": FLUX, "ivar": ERR**-2}), tmp_path / "a.parquet")
    assert_allclose(read_spectrum(tmp_path / "a.parquet").flux, FLUX)
    many = {"object_id": [11, 12], "wave_vac": [WAVE, WAVE], "flux": [FLUX, FLUX + 1], "ivar": [ERR, ERR]}
    pq.write_table(pa.table(many), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"holds 2 spectra; choose one with --row, by id: 11, 12"):
        read_spectrum(tmp_path / "b.parquet")
    assert_allclose(read_spectrum(tmp_path / "b.parquet", row=12).flux, FLUX + 1)


@pytest.mark.parametrize(("kind", "medium"), [("AWAV", "air"), ("WAVE", "vacuum")])
def test_an_image_of_one_dimension_is_read_by_its_wavelength_axis(tmp_path, kind, medium):
    step = WAVE[1] - WAVE[0]
    image = fits.PrimaryHDU(FLUX)
    image.header.update({"CTYPE1": kind, "CUNIT1": "Angstrom", "CRVAL1": WAVE[9], "CRPIX1": 10.0, "CDELT1": step})
    fits.HDUList([image, fits.ImageHDU(ERR, name="ERR")]).writeto(tmp_path / "x.fits")
    spectrum = read_spectrum(tmp_path / "x.fits")
    assert_allclose(spectrum.wavelength, air_to_vacuum(WAVE) if medium == "air" else WAVE)
    assert_allclose(spectrum.ivar, 4.0)


# --- FITS that is broken or something else


def test_a_fits_file_that_is_cut_off_is_refused(tmp_path):
    path = plain(tmp_path)
    path.write_bytes(path.read_bytes()[: 2880 * 3])
    with pytest.raises(ValueError, match=r"plain\.fits (is cut off|cannot be read)"):
        read_spectrum(path)


def test_every_altered_file_is_read_or_refused_in_one_sentence(tmp_path):
    content = bytearray(plain(tmp_path).read_bytes())
    for _ in range(60):
        altered = content.copy()
        for place in RANDOM.integers(0, len(content), 12):
            altered[place] = RANDOM.integers(0, 256)
        path = tmp_path / "altered.fits"
        path.write_bytes(altered[: RANDOM.integers(1, len(altered))])
        try:
            assert read_spectrum(path).ivar.any()
        except ValueError as error:
            assert "altered.fits" in str(error)  # noqa: PT017


def test_files_without_a_spectrum_say_what_they_hold(tmp_path):
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((8, 8)), name="SCI")]).writeto(tmp_path / "x.fits")
    with pytest.raises(ValueError, match=r"holds no spectrum that is known: .*SCI \(image of 8x8\)"):
        read_spectrum(tmp_path / "x.fits")
    with pytest.raises(FileNotFoundError, match="is no file"):
        read_spectrum(tmp_path / "none.fits")


def test_a_row_of_a_file_with_one_spectrum_is_refused(tmp_path):
    with pytest.raises(ValueError, match="leave --row out"):
        read_spectrum(plain(tmp_path), row=3)


# --- SDSS


def sdss(path: Path, *, and_mask=0, spectral_class="GALAXY") -> Path:
    loglam = (3.6 + 1e-4 * np.arange(N)).astype(np.float32)
    coadd = {"flux": FLUX, "loglam": loglam, "ivar": ERR**-2, "and_mask": np.broadcast_to(and_mask, N).astype(np.int32)}
    coadd |= {"or_mask": np.zeros(N, np.int32), "wdisp": np.full(N, 0.9), "sky": FLUX, "model": FLUX + 1}
    row = {"PLUG_RA": [150.2], "PLUG_DEC": [55.6], "PLATE": [945], "MJD": [52652], "FIBERID": [470]}
    row |= {"CLASS": [spectral_class], "Z": [0.05], "Z_ERR": [1e-5], "ZWARNING": [4]}
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU(Table(coadd), name="COADD"), fits.BinTableHDU(Table(row), name="SPALL")]
    hdus[0].header["BUNIT"] = "1E-17 erg/cm^2/s/Ang"
    fits.HDUList(hdus).writeto(path)
    return path


def test_an_sdss_coadd_is_vacuum_with_its_resolution_model_and_pipeline_redshift(tmp_path):
    spectrum = read_spectrum(sdss(tmp_path / "x"))
    assert_allclose(spectrum.wavelength, 10 ** (3.6 + 1e-4 * np.arange(N)), rtol=1e-12)
    assert_allclose(spectrum.instrument_sigma, 0.9e-4 * np.log(10) * spectrum.wavelength, rtol=1e-9)
    assert (spectrum.name, spectrum.ra, spectrum.dec) == ("SDSS 0945-52652-0470", 150.2, 55.6)
    assert spectrum.redshift == pytest.approx(0.05)
    assert "ZWARNING 4" in spectrum.facts["redshift"]
    assert "holds emission lines too" in spectrum.facts["model"]
    assert spectrum.flux_unit == "1e-17 erg / (Angstrom s cm2)"


def test_bits_that_every_exposure_calls_bad_mask_and_those_of_the_fiber_do_not(tmp_path):
    and_mask = np.zeros(N, int)
    and_mask[:] = 1 << 10  # SMEARIMAGE, of the fiber
    and_mask[5] |= 1 << 23  # BRIGHTSKY
    and_mask[6] |= 1 << 16  # NEARBADPIXEL
    and_mask[7] |= 1 << 22 | 1 << 26
    spectrum = read_spectrum(sdss(tmp_path / "x", and_mask=and_mask))
    assert_array_equal(np.flatnonzero(spectrum.ivar == 0), [5, 7])
    assert spectrum.facts["and_mask"] == "NOSKY 1, BRIGHTSKY 1, BADFLUXFACTOR 1"


def test_ngc_3073_is_read_as_the_pipeline_left_it(shared_data):
    path = shared_data / "spectrum" / "NGC3073_SDSS_DR18.fits"
    spectrum = read_spectrum(path)
    with fits.open(path) as hdus:
        flux = np.array(hdus["COADD"].data["flux"], float)
    peak = LINES["H_alpha"] * (1 + 0.00386065)  # the file's own fit of this line, SPZLINE
    assert_array_equal(spectrum.flux, flux)
    assert (spectrum.ivar == 0).sum() == 6  # NOSKY and BADFLUXFACTOR at one, BRIGHTSKY at five
    near = np.abs(spectrum.wavelength - peak) < 20
    assert abs(spectrum.wavelength[near][np.argmax(spectrum.flux[near])] - peak) < 2  # vacuum: air is 1.8 A off
    assert spectrum.redshift == pytest.approx(0.0037626564)
    assert "STAR" in spectrum.facts["redshift"]
    assert "no continuum" not in spectrum.facts["model"]
    assert 1500 < np.median(spectrum.wavelength / spectrum.instrument_sigma) / FWHM_OF_SIGMA < 2500


# --- ESO


def test_zcosmos_816618_is_in_air_with_r_600_and_says_that_its_errors_are_0(shared_data):
    path = shared_data / "spectrum" / "zcosmos_816618_vimos.fits"
    with pytest.raises(ValueError, match=r"no error above 0 in 1642 pixels.*--errors scatter"):
        read_spectrum(path)
    spectrum = read_spectrum(path, errors="scatter")
    assert_allclose(spectrum.wavelength[0] - 5505.106, 1.529, atol=0.001)  # air to vacuum
    assert (spectrum.name, spectrum.ra, spectrum.dec) == ("816618", 150.481949, 2.037169)
    assert spectrum.flux_unit == "erg / (Angstrom s cm2)"
    assert_allclose(spectrum.wavelength / spectrum.instrument_sigma, 600 * FWHM_OF_SIGMA)
    with fits.open(path) as hdus:
        snr = hdus[0].header["SNR"]  # the archive's own: one number for the whole, by the same formula
    assert np.median(spectrum.flux) * np.median(np.sqrt(spectrum.ivar)) == pytest.approx(snr, rel=0.1)


def test_eso_tables_take_flux_by_utype_and_mask_by_quality(tmp_path):
    quality = np.zeros((1, N), int)
    quality[0, 4] = 2
    columns = {
        "WAVE": WAVE[None],
        "FLUX_REDUCED": FLUX[None] * 9,
        "FLUX": FLUX[None],
        "ERR": ERR[None],
        "QUAL": quality,
    }
    header = {"VOPUB": "ESO/SAF", "TUCD1": "em.wl", "OBJECT": "x1", "TUTYP1": "Spectrum.Data.SpectralAxis.Value"}
    header |= {"TUTYP2": "eso:Data.FluxAxis.Value", "TUTYP3": "Spectrum.Data.FluxAxis.Value"}
    header |= {"TUTYP4": "Spectrum.Data.FluxAxis.Accuracy.StatError"}
    spectrum = read_spectrum(fits_table(tmp_path / "x.fits", header=header, **columns))
    assert_array_equal(spectrum.flux, FLUX)
    assert_array_equal(np.flatnonzero(spectrum.ivar == 0), [4])
    assert spectrum.facts["format"] == "ESO phase 3"
    assert spectrum.facts["medium"].startswith("vacuum")


# --- DESI

GRIDS = {"B": 3600.0 + 0.8 * np.arange(60), "R": 3640.0 + 0.8 * np.arange(60), "Z": 3700.0 + 0.8 * np.arange(60)}
TARGETS = np.array([39627640566453451, 39627640566453452, -7], np.int64)


def resolution_matrix(sigma: float, n: int, n_diagonals: int = 11) -> np.ndarray:
    """Diagonals as scipy's dia_matrix keeps them, of a Gaussian integrated over pixels."""
    from scipy.sparse import dia_matrix
    from scipy.special import erf

    at = np.arange(n)
    edges = (at[:, None] - at[None, :] + np.array([-0.5, 0.5])[:, None, None]) / (np.sqrt(2) * sigma)
    dense = (erf(edges[1]) - erf(edges[0])) / 2
    offsets = np.arange(n_diagonals // 2, -(n_diagonals // 2) - 1, -1)
    sparse = np.zeros((n_diagonals, n))
    for row, offset in enumerate(offsets):
        where = slice(offset, None) if offset >= 0 else slice(None, offset)
        sparse[row, where] = np.diag(dense, offset)
    assert_allclose(dia_matrix((sparse, offsets), (n, n)).toarray()[20, 15:26], dense[20, 15:26])
    return sparse


def desi(path: Path, *, targets=TARGETS, flux=None, sigma=0.9) -> Path:
    n_rows = len(targets)
    fibermap = Table({"TARGETID": targets, "TARGET_RA": 10.0 + np.arange(n_rows), "TARGET_DEC": np.full(n_rows, -5.0)})
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU(fibermap, name="FIBERMAP")]
    for arm, wavelength in GRIDS.items():
        n = len(wavelength)
        values = {"B": 1.0, "R": 4.0, "Z": 2.0}[arm] + 10 * np.arange(n_rows)[:, None] + np.zeros(n)
        ivar = np.full((n_rows, n), {"B": 1.0, "R": 2.0, "Z": 1.0}[arm], np.float32)
        mask = np.zeros((n_rows, n), np.int32)
        mask[:, 3] = 1
        hdus += [
            fits.ImageHDU(wavelength, name=f"{arm}_WAVELENGTH"),
            fits.ImageHDU(values.astype(np.float32) if flux is None else flux[arm], name=f"{arm}_FLUX"),
            fits.ImageHDU(ivar, name=f"{arm}_IVAR"),
            fits.CompImageHDU(mask, name=f"{arm}_MASK"),
            fits.ImageHDU(np.tile(resolution_matrix(sigma, n), (n_rows, 1, 1)), name=f"{arm}_RESOLUTION"),
        ]
        hdus[-5].header["BUNIT"] = "Angstrom"
        hdus[-4].header["BUNIT"] = "10**-17 erg/(s cm2 Angstrom)"
    fits.HDUList(hdus).writeto(path)
    return path


def test_desi_arms_are_joined_on_one_grid_with_weighted_means_where_they_overlap(tmp_path):
    spectrum = read_spectrum(desi(tmp_path / "x"), row=TARGETS[1])
    assert_allclose(np.unique(np.round(np.diff(spectrum.wavelength), 6)), [0.8, 12.8])  # nothing is made up in a gap
    at = {each: np.argmin(np.abs(spectrum.wavelength - each)) for each in (3610.4, 3641.6, 3642.4, 3720.0)}
    assert_allclose(spectrum.flux[at[3610.4]], 11.0)
    assert_allclose(spectrum.flux[at[3641.6]], (11 * 1 + 14 * 2) / 3)
    assert_allclose(spectrum.ivar[at[3641.6]], 3.0)
    assert_allclose(spectrum.flux[at[3642.4]], 11.0)  # masked in R, so B alone
    assert_allclose(spectrum.ivar[at[3642.4]], 1.0)
    assert_allclose(spectrum.flux[at[3720.0]], 12.0)
    assert spectrum.ivar[3] == 0
    assert (spectrum.name, spectrum.ra, spectrum.dec) == (f"DESI {TARGETS[1]}", 11.0, -5.0)
    assert spectrum.flux_unit == "1e-17 erg / (Angstrom s cm2)"
    assert spectrum.facts["medium"].startswith("vacuum")


def test_the_width_of_the_response_is_that_of_the_resolution_matrix(tmp_path):
    for sigma in (0.7, 0.9, 1.2):
        found = resolution_sigma(resolution_matrix(sigma, 60, 15))
        assert_allclose(found[7:-7], sigma, rtol=0.01)
        assert np.isnan(found[[0, 6, -7, -1]]).all()  # cut off by the end of the arm
    spectrum = read_spectrum(desi(tmp_path / "x"), row="0")
    assert_allclose(spectrum.instrument_sigma, 0.9 * 0.8, rtol=0.01)  # at the ends of the arms too


def test_one_of_several_desi_spectra_must_be_chosen_by_targetid_or_number(tmp_path):
    path = desi(tmp_path / "x")
    with pytest.raises(ValueError, match=rf"holds 3 spectra; choose one with --row, by TARGETID: {TARGETS[0]}"):
        read_spectrum(path)
    assert read_spectrum(path, row=str(TARGETS[2])).name == "DESI -7"
    assert read_spectrum(path, row=2).name == "DESI -7"
    with pytest.raises(ValueError, match=rf"no row '99'; rows are numbered 0 to 2.*{TARGETS[0]}"):
        read_spectrum(path, row=99)
    twice = desi(tmp_path / "y", targets=np.array([5, 8, 8]))
    with pytest.raises(ValueError, match="2 spectra of TARGETID 8; choose one by its number: --row 1, 2"):
        read_spectrum(twice, row=8)


def test_errors_are_in_their_own_unit_and_those_of_something_else_are_refused(tmp_path):
    n = 300
    wave, flux = np.linspace(4_000, 7_000, n), np.full(n, 5.0)
    table = Table({"wave": wave, "flux": flux, "err": np.full(n, 2e-18)})
    table["wave"].unit, table["flux"].unit = "Angstrom", "1e-17 erg / (Angstrom s cm2)"
    table["err"].unit = "erg / (Angstrom s cm2)"
    path = tmp_path / "units.ecsv"
    table.write(path)
    found = read_spectrum(path, medium="vacuum", resolution=2_000)
    np.testing.assert_allclose(found.ivar, 25.0)
    table["err"].unit = "km / s"
    table.write(path, overwrite=True)
    with pytest.raises(ValueError, match=r"gives err in km / s and flux in .* do not belong together"):
        read_spectrum(path, medium="vacuum", resolution=2_000)
