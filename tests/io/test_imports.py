import pickle
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
from numpy.testing import assert_array_equal

from peculiar.io.exports import write_csv, write_fits, write_parquet, write_votable
from peculiar.io.imports import has_own_ids, read_released, write_images
from peculiar.io.released import ReleaseBatch, write_hdf5
from peculiar.io.tables import read_table

PICKLES = Path(__file__).parent / "pickles"
IDS = np.array([43158859342174406, 43158859342174407, -5], np.int64)
SCORES = ("score_disc_sigma", "score_gen_sigma", "score_anom_sigma")


def test_a_pickled_catalog_has_the_house_names_and_exact_ids():
    released = read_released(PICKLES / "pandas-1.5-mixed.p")
    names = released.table.column_names
    assert names[:4] == ["object_id", "release_index", "ra", "dec"]
    assert set(SCORES) <= set(names)
    assert released.table["object_id"].to_pylist() == IDS.tolist()
    assert released.table["release_index"].to_pylist() == [51, 245, 285]
    assert released.table["score_anom_sigma"].null_count == 1
    assert released.table["name"].to_pylist() == ["a", "b", "c"]
    assert b"idx" in released.table.schema.field("release_index").metadata[b"description"]


def test_a_csv_in_released_names_is_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("idx,HSC_object_id,ra,dec,discriminator_score_normalized\n7,43158859342174406,1,2,3.5\n")
    table = read_released(path).table
    row = table.to_pylist()[0]
    assert row == {"object_id": IDS[0], "release_index": 7, "ra": 1, "dec": 2, "score_disc_sigma": 3.5}


@pytest.mark.parametrize(("dtype", "n_shared"), [(np.float32, 2), (np.float64, 2)])
def test_float_ids_are_refused_with_how_many_rows_they_confound(tmp_path, dtype, n_shared):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["object_ids"] = IDS[[0, 1, 2]].astype(dtype)
        file["disc_scores"] = np.zeros(3)
    with pytest.raises(ValueError, match=rf"object_ids as {np.dtype(dtype)}, .*17: {n_shared} of its 3 rows"):
        read_released(path)


def test_float_ids_of_a_pickle_and_of_objects_are_refused(tmp_path):
    path = tmp_path / "a.p"
    for ids in (IDS.astype(float), np.array([float(each) for each in IDS], object)):
        path.write_bytes(pickle.dumps({"HSC_object_id": ids}))
        with pytest.raises(ValueError, match=r"holds HSC_object_id as float64, .*2 of its 3 rows.*int64"):
            read_released(path)


def test_the_catalog_as_floats_would_confound_hundreds(shared_data, tmp_path):
    table = read_released(shared_data / "catalogue" / "anomaly_catalog_hsc_disc3sigma.p").table
    path = tmp_path / "a.npy"
    columns = {"HSC_object_id": table["object_id"].to_numpy().astype(float)}
    np.save(path, np.array(columns, object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"1498 of its 13477 rows"):
        read_released(path)


def test_hdf5_as_this_package_writes_it_comes_back(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    names = [f"score_{each}{form}" for each in ("anom", "disc", "gen") for form in ("", "_sigma")]
    scores = {name: np.arange(3.0) + place for place, name in enumerate(names)}
    path = tmp_path / "a.h5"
    batch = ReleaseBatch(IDS, scores, images, images)
    write_hdf5(path, [batch], image_shape=(32, 32, 3), reconstruction_weight=0.3, combination_weight=0.3)
    released = read_released(path)
    assert released.n_images == 3
    assert released.table["object_id"].to_pylist() == IDS.tolist()
    assert released.table["release_index"].to_pylist() == [0, 1, 2]
    for name, values in scores.items():
        assert_array_equal(released.table[name].to_numpy(), values)
    assert has_own_ids(path)


def test_an_id_array_one_longer_than_the_scores_is_refused(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["object_ids"], file["disc_scores"] = IDS, np.zeros(2)
    with pytest.raises(ValueError, match=r"unknown which id is whose: score_disc 2, object_id 3"):
        read_released(path)


def results(images, *, with_ids):
    """An array of results as the original's scripts saved it."""
    array = np.empty((len(images), 6 + with_ids), object)
    for row, image in enumerate(images):
        array[row, :6] = [image, image, np.float32(row), np.float32(2), np.float32(3), [51, 245, 285][row]]
        if with_ids:
            array[row, 6] = np.int64(IDS[row])
    return array


def test_results_saved_as_objects_are_read(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, results(np.zeros((3, 32 * 32 * 3), np.float32), with_ids=True), allow_pickle=True)
    released = read_released(path)
    assert released.n_images == 3
    assert released.table["object_id"].to_pylist() == IDS.tolist()
    assert released.table["score_gen"].to_pylist() == [0, 1, 2]
    np.save(path, results(np.zeros((3, 4)), with_ids=False), allow_pickle=True)
    with pytest.raises(ValueError, match="has no object_id or HSC_object_id"):
        read_released(path)


def test_images_get_the_ids_that_the_catalog_has_for_their_idx(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    catalog = pa.table({"object_id": IDS[[2, 0]], "release_index": [285, 51]})
    kinds = {"flat.npy": (images / 255).reshape(3, -1), "cubes.npy": images, "numbers.npy": images.astype(np.int64)}
    for name, saved in kinds.items():
        np.save(tmp_path / name, results(saved, with_ids=False), allow_pickle=True)
        assert not has_own_ids(tmp_path / name)
        assert write_images(tmp_path / name, catalog, tmp_path / "out.h5") == 2
        with h5py.File(tmp_path / "out.h5") as file:
            assert file["object_ids"][:].tolist() == [IDS[0], IDS[2]]
            assert_array_equal(file["images"][:], images[[0, 2]])


def test_idx_as_floats_is_read_where_no_digit_can_be_lost(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("idx,HSC_object_id\n7.0,43158859342174406\n942780.0,5\n")
    assert read_released(path).table["release_index"].to_pylist() == [7, 942_780]
    path.write_text("idx,HSC_object_id\n7.5,43158859342174406\n")
    with pytest.raises(ValueError, match="idx as float64"):
        read_released(path)


def test_pixels_of_no_known_range_are_refused(tmp_path):
    catalog = pa.table({"object_id": IDS, "release_index": [51, 245, 285]})
    for images in (np.full((3, 32, 32, 3), -1.0), np.full((3, 32, 32, 3), 300), np.full((3, 32, 32, 3), np.nan)):
        np.save(tmp_path / "a.npy", results(images, with_ids=False), allow_pickle=True)
        with pytest.raises(ValueError, match="neither all 0 to 255 nor all 0 to 1"):
            write_images(tmp_path / "a.npy", catalog, tmp_path / "out.h5")
    odd = results(np.zeros((3, 32, 32, 3)), with_ids=False)
    odd[1, 0] = np.zeros((33, 33, 3))
    np.save(tmp_path / "a.npy", odd, allow_pickle=True)
    with pytest.raises(ValueError, match="images of different shapes"):
        write_images(tmp_path / "a.npy", catalog, tmp_path / "out.h5")
    odd[:, 0] = "a"
    np.save(tmp_path / "a.npy", odd, allow_pickle=True)
    with pytest.raises(ValueError, match="no arrays of numbers"):
        write_images(tmp_path / "a.npy", catalog, tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def test_images_of_hdf5_with_float_ids_are_resolved_by_idx_or_refused(tmp_path):
    path, catalog = tmp_path / "a.h5", pa.table({"object_id": IDS, "release_index": [51, 245, 285]})
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    with h5py.File(path, "w") as file:
        file["reals"], file["object_ids"] = images, np.r_[IDS, 0].astype(np.float32)
    assert not has_own_ids(path)
    with pytest.raises(ValueError, match=r"neither an int64 object_id for each image nor idxs"):
        write_images(path, catalog, tmp_path / "out.h5")
    with h5py.File(path, "a") as file:
        file["idxs"] = [285, 9, 245]
    assert write_images(path, catalog, tmp_path / "out.h5") == 2
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["object_ids"][:].tolist() == [IDS[2], IDS[1]]
    with pytest.raises(ValueError, match="the catalog has no idx"):
        write_images(path, catalog.select(["object_id"]), tmp_path / "out.h5")
    with pytest.raises(ValueError, match=r"no idx of .* is in the catalog"):
        write_images(path, pa.table({"object_id": [1], "release_index": [1]}), tmp_path / "out.h5")


class Bomb:
    def __reduce__(self):
        return eval, ("1/0",)


def test_lists_within_lists_of_a_column_are_refused_unopened(tmp_path):
    ids = np.empty(1, object)
    ids[0] = nest = []
    for _ in range(100):
        nest.append([])
        nest = nest[0]
    (tmp_path / "a.p").write_bytes(pickle.dumps({"object_id": ids}))
    with pytest.raises(ValueError, match="neither numbers nor texts"):
        read_released(tmp_path / "a.p")


def test_what_would_run_in_an_array_of_objects_is_refused(tmp_path):
    array = np.empty((1, 7), object)
    array[0, 0] = Bomb()
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=r"asks for builtins.eval, which no table needs"):
        read_released(tmp_path / "a.npy")


def test_a_header_that_lies_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.array([1, 2], object), allow_pickle=True)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"(2,)", b"(3,)"))
    with pytest.raises(ValueError, match=r"of shape \(3,\), and does not"):
        read_released(path)
    path.write_bytes(whole.replace(b"(2,)", b"os()"))
    with pytest.raises(ValueError, match=r"is no \.npy file"):
        read_released(path)
    path.write_bytes(b"no array")
    with pytest.raises(ValueError, match=r"is no \.npy file"):
        read_released(path)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"ra": [1.0]}, "has no object_id or HSC_object_id; it has: ra"),
        ({"object_id": [1, 1], "ra": [1.0, 2.0]}, "1 rows whose object_id stands in an earlier row"),
        ({"object_id": [1], "HSC_object_id": [1]}, "two columns for object_id"),
        ({"object_id": [1], "ra": [[1.0, 2.0]]}, "a column ra that holds neither numbers nor texts"),
        ({"object_id": [1], "ra": np.zeros((1, 2))}, r"a column ra of shape \(1, 2\)"),
        ({"object_id": [1], "ra": 1.0}, "a column ra that is none"),
        ({"object_id": [1, 2], "ra": [1.0, "a"]}, "a column ra of values that do not go together"),
        ({"object_id": ["a"]}, "not an integer"),
        ([1, 2], "holds list"),
        (np.zeros((2, 9)), r"an array of shape \(2, 9\)"),
    ],
)
def test_what_is_no_catalog_is_refused(tmp_path, columns, said):
    path = tmp_path / "a.p"
    path.write_bytes(pickle.dumps(columns))
    with pytest.raises(ValueError, match=said):
        read_released(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="--catalog"):
        read_released(tmp_path / "none.p")


@pytest.mark.parametrize(
    ("suffix", "write"), [("parquet", write_parquet), ("fits", write_fits), ("csv", write_csv), ("vot", write_votable)]
)
def test_the_released_catalog_is_exported_and_read_back_to_the_last_digit(shared_data, tmp_path, suffix, write):
    table = read_released(shared_data / "catalogue" / "anomaly_catalog_hsc_disc3sigma.p").table.combine_chunks()
    path = tmp_path / f"a.{suffix}"
    assert write(path, table.schema, table.to_batches()) == 13_477
    back = read_table(path)
    assert back.column_names == table.column_names
    assert back["object_id"].type == pa.int64()
    for name in table.column_names:
        assert_array_equal(back[name].to_numpy(), table[name].to_numpy())
    assert read_released(path).table["object_id"].equals(table["object_id"])
