import dataclasses
import json
import shutil

import numpy as np
import pytest
from astropy.table import Table

from peculiar import Atlas
from peculiar.io.spectra import write_spectrum
from peculiar.line_report import comparison_sample, measure_spectrum
from peculiar.spectra.planted import RATIOS, plant
from peculiar.stages.lines import LinesConfig, measure_file


@pytest.fixture(scope="module")
def planted():
    return plant(seed=3, signal_to_noise=60.0, resolution=4_000.0, velocity=(-90.0, 90.0), width=(30.0, 40.0))


@pytest.fixture(scope="module")
def file(planted, tmp_path_factory):
    path = tmp_path_factory.mktemp("spectra") / "planted.ecsv"
    write_spectrum(path, planted.spectrum)
    return path


@pytest.fixture(scope="module")
def measured(file, tmp_path_factory):
    home = tmp_path_factory.mktemp("lines") / "out"
    return home, measure_file(LinesConfig(spectrum=file, size_arcsec=4.1, stellar_mass=1e8), home)


@pytest.fixture(scope="module")
def atlas(ranked, inputs, file, tmp_path_factory):
    folder = shutil.copytree(ranked, tmp_path_factory.mktemp("spectra-of") / "atlas")
    atlas = Atlas(folder)
    atlas.lines(int(inputs.object_id[7]), file)
    return atlas


def test_a_file_becomes_redshift_lines_and_quantities_within_their_errors(measured, planted):
    home, run = measured
    assert run.outputs["quality"] == "secure"
    found, error = np.array(run.outputs["redshift"]), np.array(run.outputs["redshift_error"])
    truth = (1 + planted.redshift) * (1 + planted.velocity / 299_792.458) - 1
    assert (np.abs(found - truth) < 4 * error).all()
    lines = Table.read(home / "lines.ecsv")
    total = lines[lines["part"] == "total"]
    sums = dict(zip(total["line"], zip(total["flux"], total["flux_error"], strict=True), strict=True))
    for line, ratio in RATIOS.items():
        flux, uncertain = sums[line]
        expected = planted.flux.sum(axis=0)[list(RATIOS).index(line)]
        assert abs(flux - expected) < 4.5 * uncertain, (line, ratio)
    assert lines["flux"].unit.is_equivalent("erg / (s cm2)")
    assert lines["flux"].unit.to("erg / (s cm2)") == pytest.approx(1e-17)
    quantities = Table.read(home / "quantities.ecsv")
    size = quantities[(quantities["name"] == "size_kpc") & (quantities["part"] == "total")]
    assert size["value"][0] == pytest.approx(2.73, abs=0.03)
    row = json.loads((home / "result.json").read_text())
    assert row["redshift_quality"]["value"] == "secure"
    assert row["n_components"]["value"] == 2


def test_the_page_shows_fit_diagram_and_search(measured):
    home, _ = measured
    page = (home / "lines.html").read_text()
    for name in ("spectrum.png", "bpt.png", "redshift.png"):
        assert name in page
        assert (home / name).stat().st_size > 10_000


def test_the_results_stand_beside_the_objects_scores(atlas, inputs, file):
    object_id = int(inputs.object_id[7])
    ranking = atlas.ranking()
    redshift = ranking.column("redshift")
    assert np.isfinite(redshift).sum() == 1
    assert atlas.select("redshift > 0.03 and redshift_quality = 'secure'").tolist() == [object_id]
    assert ranking.schema.field("flux_H_alpha").metadata[b"unit"] == b"1e-17 erg / (s cm2)"
    home = atlas.folder / "spectra" / "main" / "objects" / str(object_id)
    page = (home / "lines.html").read_text()
    assert f"Object {object_id}" in page
    assert "image.png" in page
    assert "percentile" in page
    assert next(each for each in atlas.status() if each.folder == "spectra/main").state == "complete"
    atlas.lines(int(inputs.object_id[9]), file, redshift=0.0322, n_components=1)
    assert np.isfinite(atlas.ranking().column("redshift")).sum() == 2
    assert set(atlas.scores([object_id])["n_components"]) == {2}


def test_an_object_is_measured_anew_by_another_config_and_what_fails_leaves_it_as_it_was(atlas, inputs, file):
    object_id = int(inputs.object_id[7])
    before = atlas.scores([object_id])["redshift"][0]
    with pytest.raises(FileNotFoundError):
        atlas.lines(object_id, file.with_name("nothing.ecsv"))
    assert atlas.scores([object_id])["redshift"][0] == before
    run = atlas.lines(object_id, file, n_components=1)
    assert run.config["n_components"] == 1
    assert atlas.scores([object_id])["n_components"][0] == 1
    atlas.lines(object_id, file)


def test_fluxes_of_many_spectra_are_in_one_unit_and_those_without_one_are_left_out(atlas, inputs, planted, tmp_path):
    made = {"cgs": ("erg / (Angstrom s cm2)", 1e-17), "relative": ("", 1.0)}
    for place, (name, (unit, factor)) in enumerate(made.items()):
        spectrum = dataclasses.replace(
            planted.spectrum,
            flux=planted.spectrum.flux * factor,
            ivar=planted.spectrum.ivar / factor**2,
            model=None,
            flux_unit=unit,
        )
        write_spectrum(tmp_path / f"{name}.ecsv", spectrum)
        atlas.lines(int(inputs.object_id[20 + place]), tmp_path / f"{name}.ecsv", redshift=planted.redshift)
    rows = atlas.scores(inputs.object_id[[7, 20, 21]])
    assert rows["flux_H_alpha"][1] == pytest.approx(rows["flux_H_alpha"][0], rel=1e-3)
    assert rows["flux_H_alpha"].mask.tolist() == [False, False, True]
    assert np.isfinite(rows["abundance_N2_marino_ons"][2])
    assert rows["abundance_N2_marino_ons_in_range"][0] == 1


def test_a_folder_that_holds_anything_else_is_left_alone(file, tmp_path):
    home = tmp_path / "thesis"
    home.mkdir()
    (home / "chapter.tex").write_text("of years")
    with pytest.raises(ValueError, match=r"thesis holds other files, chapter.tex for one"):
        measure_file(LinesConfig(spectrum=file), home)
    assert (home / "chapter.tex").read_text() == "of years"
    with pytest.raises(ValueError, match="is a file"):
        measure_file(LinesConfig(spectrum=file), home / "chapter.tex")
    own = tmp_path / "own"
    measure_file(LinesConfig(spectrum=file, redshift=0.0322), own)
    (own / "mine.txt").write_text("a note")
    run = measure_file(LinesConfig(spectrum=file, n_components=1, redshift=0.0322), own)
    assert run.config["n_components"] == 1
    assert (own / "mine.txt").read_text() == "a note"


def test_lines_broader_than_is_fitted_are_refused(tmp_path):
    broad = plant(seed=5, signal_to_noise=200.0, resolution=2_000.0, width=(1_500.0,))
    with pytest.raises(ValueError, match="broader than 600 km/s"):
        measure_spectrum(broad.spectrum, redshift=broad.redshift, n_components=1)


def test_errors_that_are_too_small_are_taken_larger(planted):
    small = dataclasses.replace(planted.spectrum, ivar=planted.spectrum.ivar * 9)
    told, believed = (measure_spectrum(each, redshift=planted.redshift) for each in (small, planted.spectrum))
    np.testing.assert_allclose(told.fit.flux_error[-1], believed.fit.flux_error[-1], rtol=0.15)


def test_without_lines_there_is_no_redshift_and_the_figure_shows_why(tmp_path):
    empty = plant(seed=1, signal_to_noise=30.0, ratios={})
    path = tmp_path / "empty.ecsv"
    write_spectrum(path, empty.spectrum)
    home = tmp_path / "out"
    with pytest.raises(ValueError, match=r"empty.ecsv: no redshift: .*give one with --redshift.*redshift.png"):
        measure_file(LinesConfig(spectrum=path), home)
    assert (tmp_path / "out-redshift.png").stat().st_size > 10_000
    assert not home.exists()
    run = measure_file(LinesConfig(spectrum=path, redshift=0.032), home)
    assert run.outputs["detected"] == []
    assert (home / "lines.html").exists()


def test_a_unit_that_is_not_absolute_gives_ratios_but_no_luminosity(planted):
    relative = dataclasses.replace(planted.spectrum, flux_unit="")
    found = measure_spectrum(relative, redshift=planted.redshift)
    row = found.row()
    assert "abundance_N2_marino_ons" in row
    assert "h_alpha_luminosity" not in row
    assert "flux_H_alpha" not in row


@pytest.mark.parametrize("unit", ["ct / Angstrom", "ct"])
def test_counts_give_ratios_too(planted, unit):
    row = measure_spectrum(dataclasses.replace(planted.spectrum, flux_unit=unit), redshift=planted.redshift).row()
    assert "abundance_N2_marino_ons" in row
    assert "flux_H_alpha" not in row


def test_a_comparison_sample_is_places_or_fluxes_of_which_all_four_are_seen(tmp_path):
    places, fluxes, wrong = (tmp_path / f"{each}.csv" for each in ("places", "fluxes", "wrong"))
    places.write_text("log_nii_ha,log_oiii_hb\n-0.5,0.1\nnan,0.2\n")
    assert [each.tolist() for each in comparison_sample(places)] == [[-0.5], [0.1]]
    names = ("NII_6584_FLUX", "H_ALPHA_FLUX", "OIII_5007_FLUX", "H_BETA_FLUX")
    header = ",".join(f"{name},{name}_ERR" for name in names)
    fluxes.write_text(f"{header}\n1,0.1,10,0.1,20,1,2,0.1\n1,0.9,10,0.1,20,1,2,0.1\n")
    x, y = comparison_sample(fluxes)
    assert (x.tolist(), y.tolist()) == ([-1.0], [1.0])
    wrong.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="nor log_nii_ha and log_oiii_hb"):
        comparison_sample(wrong)


@pytest.mark.parametrize("options", [{"n_components": 3}, {"redshift": -3.0}])
def test_ranges_are_checked(options, file):
    with pytest.raises(ValueError, match=next(iter(options))):
        LinesConfig(spectrum=file, **options)


def test_the_spectrum_of_sdss_gives_its_galaxys_redshift(shared_data, tmp_path):
    home = tmp_path / "out"
    run = measure_file(LinesConfig(spectrum=shared_data / "spectrum" / "NGC3073_SDSS_DR18.fits"), home)
    assert run.outputs["quality"] == "secure"
    assert run.outputs["redshift"][0] == pytest.approx(0.00386, abs=0.0001)
    assert {"H_alpha", "NII_6585", "OIII_5008", "SII_6718"} <= set(run.outputs["detected"])
