import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from peculiar.stages.simulate import SimulateConfig, simulate

N_OBJECTS = 12


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> SimulateConfig:
    pytest.importorskip("galsim")
    output = tmp_path_factory.mktemp("simulated") / "survey"
    config = SimulateConfig(output=output, n_objects=N_OBJECTS, odd_fraction=0.5, seed=3, size=64, n_workers=1)
    simulate(config)
    return config


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_holds_cutouts_catalog_truth_and_config_and_no_leftovers(survey: SimulateConfig) -> None:
    names = {path.name for path in survey.output.iterdir()}
    assert names == {"cutouts", "objects.fits", "truth.csv", "config.json"}
    cutouts = list((survey.output / "cutouts").iterdir())
    assert len(cutouts) == N_OBJECTS
    assert all(path.suffix == ".fits" for path in cutouts)


def test_a_cutout_has_a_band_an_extension_and_its_object_where_the_wcs_says(survey: SimulateConfig) -> None:
    from astropy.io import fits
    from astropy.table import Table
    from astropy.wcs import WCS
    from astropy.wcs.utils import proj_plane_pixel_scales

    for row in Table.read(survey.output / "objects.fits"):
        with fits.open(survey.output / "cutouts" / f"{row['object_id']}.fits") as bands:
            bands.verify("exception")
            assert [band.name for band in bands] == ["PRIMARY", "HSC-G", "HSC-R", "HSC-I"]
            assert bands[0].header["OBJECTID"] == row["object_id"]
            for band in bands[1:]:
                assert band.data.dtype == np.dtype(">f4")
                assert band.data.shape == (64, 64)
                assert band.header["MAGZERO"] == 27.0
                wcs = WCS(band.header)
                assert proj_plane_pixel_scales(wcs) * 3600.0 == pytest.approx(0.168)
                assert np.abs(np.array(wcs.all_world2pix(row["ra"], row["dec"], 0)) - 32.0).max() <= 0.501


def test_the_catalog_has_units_and_int64_ids_and_says_nothing_of_what_is_planted(survey: SimulateConfig) -> None:
    from astropy.table import Table

    table = Table.read(survey.output / "objects.fits")
    units = {name: str(table[name].unit or "") for name in table.colnames}
    assert units == {
        "object_id": "",
        "ra": "deg",
        "dec": "deg",
        "i_cmodel_mag": "mag",
        "g_r": "mag",
        "r_i": "mag",
        "half_light_radius": "arcsec",
    }
    assert table["object_id"].dtype.newbyteorder("=") == np.int64
    assert ((table["i_cmodel_mag"] >= 20.0) & (table["i_cmodel_mag"] <= 20.5)).all()
    for content in (survey.output / "objects.fits", *(survey.output / "cutouts").iterdir()):
        assert b"planted" not in content.read_bytes().lower()


def test_the_truth_names_every_object_and_half_of_them_odd(survey: SimulateConfig) -> None:
    from astropy.table import Table

    with (survey.output / "truth.csv").open(newline="") as stream:
        truth = list(csv.DictReader(stream))
    assert list(truth[0]) == ["object_id", "planted_class", "planted_kind", "planted_strength"]
    ids = Table.read(survey.output / "objects.fits")["object_id"]
    assert [int(row["object_id"]) for row in truth] == list(ids)
    assert sum(row["planted_class"] != "" for row in truth) == N_OBJECTS // 2
    assert {row["planted_kind"] for row in truth} == {"", "astrophysical", "artefact"}


def test_an_interrupted_run_goes_on_to_the_same_bytes(survey: SimulateConfig, tmp_path: Path) -> None:
    """What a kill leaves: some cutouts, no catalog. Those that exist are kept, as their times show."""
    import shutil

    output = tmp_path / "copy"
    shutil.copytree(survey.output, output)
    whole = contents(output)
    cutouts = sorted((output / "cutouts").iterdir())
    for path in (*cutouts[::2], output / "objects.fits", output / "truth.csv"):
        path.unlink()
    kept = {path: path.stat().st_mtime_ns for path in cutouts[1::2]}
    simulate(replace(survey, output=output))
    assert contents(output) == whole
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_two_processes_make_the_same_bytes_as_one(
    survey: SimulateConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peculiar.stages.simulate.CHUNK", 6)
    simulate(replace(survey, output=tmp_path / "two", n_workers=2))
    assert contents(tmp_path / "two") == contents(survey.output)


def test_another_config_is_refused_by_the_names_that_differ(survey: SimulateConfig) -> None:
    before = contents(survey.output)
    with pytest.raises(ValueError, match=r"another config: odd_fraction was 0\.5, now 0\.25, seed was 3, now 4;"):
        simulate(replace(survey, seed=4, odd_fraction=0.25))
    assert contents(survey.output) == before


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    pytest.importorskip("galsim")
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="holds files but no simulated survey"):
        simulate(SimulateConfig(output=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_config_is_recorded_without_the_folder_and_the_workers(survey: SimulateConfig) -> None:
    recorded = json.loads((survey.output / "config.json").read_text())
    assert recorded == {"n_objects": N_OBJECTS, "odd_fraction": 0.5, "seed": 3, "size": 64}


def test_progress_is_told_object_by_object(survey: SimulateConfig) -> None:
    from collections.abc import Callable, Iterator
    from contextlib import contextmanager

    told: list[tuple[str, int | None]] = []
    steps: list[int] = []

    @contextmanager
    def follow(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
        told.append((description, total))
        yield steps.append

    simulate(survey, track=follow)
    assert told == [("simulating", N_OBJECTS)]
    assert sum(steps) == N_OBJECTS


@pytest.mark.parametrize(
    ("field", "value"),
    [("n_objects", 0), ("odd_fraction", 1.5), ("seed", -1), ("size", 31), ("size", 33), ("n_workers", -1)],
)
def test_values_out_of_range_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} must be"):
        SimulateConfig(output=Path("nowhere"), **{field: value})
