import io
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from peculiar.io import arrays
from peculiar.io.readers import Loaded, ReadOptions, Rejected, list_entries, read_many

N = 150
RANDOM = np.random.default_rng(5)
IMAGES = RANDOM.integers(0, 256, (N, 40, 40, 3), np.uint8)
FLUX = RANDOM.normal(1.0, 1.0, (N, 3, 40, 40)).astype(np.float32)
IDS = 43158859342174406 + np.arange(N) * np.where(np.arange(N) % 2, 1, -3)
OPTIONS = ReadOptions()


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def write(path: Path, **columns: np.ndarray) -> Path:
    if path.suffix == ".npz":
        (np.savez_compressed if "packed" in path.name else np.savez)(path, **columns)
    elif path.suffix == ".parquet":
        columns["images"] = [png(pixels) for pixels in columns["images"]]
        if "struct" in path.name:
            columns["images"] = [{"bytes": data, "path": "x.png"} for data in columns["images"]]
        names = {"images": "image", "object_ids": "object_id"}
        pq.write_table(pa.table({names.get(k, k): v for k, v in columns.items()}), path, row_group_size=70)
    else:
        with h5py.File(path, "w") as file:
            for name, column in columns.items():
                file.create_dataset(name, data=column, chunks=True, compression="gzip")
    return path


@pytest.mark.parametrize("name", ["a.h5", "a.hdf5", "a.npz", "packed.npz", "a.parquet", "struct.parquet"])
def test_every_container_gives_its_images_ids_and_positions(tmp_path, name):
    ra = np.linspace(0, 359, N)
    ra[3] = np.nan
    path = write(tmp_path / name, images=IMAGES, object_ids=IDS, ra=ra, dec=ra / 9)
    entries = list(list_entries(tmp_path, OPTIONS))
    assert [entry.object_id for entry in entries] == IDS.tolist()
    assert [entry.source for entry in entries] == [f"{name}#{i}" for i in IDS.tolist()]
    assert [entry.index for entry in list_entries(path, OPTIONS)] == list(range(N))
    assert entries[3].ra is None
    assert entries[4].ra == ra[4]
    order = [3, 4, 68, 90, 137, 149, 0, 71]
    results = read_many([entries[i] for i in order], OPTIONS)
    for i, result in zip(order, results, strict=True):
        assert isinstance(result, Loaded), result
        assert result.entry is entries[i]
        assert_array_equal(result.image, IMAGES[i])


def test_the_released_layout_is_read(tmp_path):
    write(tmp_path / "a.h5", reals=IMAGES, reconstructed=IMAGES * 0, object_ids=IDS, idxs=np.arange(N), disc_scores=IDS)
    entries = list(list_entries(tmp_path / "a.h5", OPTIONS))
    assert entries[7].source == f"a.h5#{IDS[7]}"
    assert_array_equal(read_many(entries[7:8], OPTIONS)[0].image, IMAGES[7])


@pytest.mark.parametrize("name", ["a.h5", "a.npz", "packed.npz"])
def test_flux_is_ordered_stretched_and_kept(tmp_path, name):
    write(tmp_path / name, flux=FLUX, images=IMAGES)
    options = ReadOptions(bands=("2", "1", "0"), keep_flux=True)
    entries = list(list_entries(tmp_path / name, options))
    assert entries[1].source == f"{name}#1"
    results = read_many(entries[:2], options)
    assert_array_equal(results[1].flux, FLUX[1, ::-1])
    assert_array_equal(read_many(entries[:2], ReadOptions())[1].image, IMAGES[1])


def test_npy_is_a_stack_or_one_object(tmp_path):
    np.save(tmp_path / "a_stack.npy", IMAGES)
    np.save(tmp_path / "b_image.npy", IMAGES[1])
    np.save(tmp_path / "c_flux.npy", FLUX[1].astype(">f8"))
    np.save(tmp_path / "d_grey.npy", IMAGES[:20, :, :, 0])
    entries = list(list_entries(tmp_path, OPTIONS))
    assert len(entries) == N + 1 + 1 + 20
    results = dict(zip((e.source for e in entries), read_many(entries, ReadOptions(keep_flux=True)), strict=True))
    assert_array_equal(results["a_stack.npy#149"].image, IMAGES[149])
    assert_array_equal(results["b_image.npy"].image, IMAGES[1])
    assert_array_equal(results["c_flux.npy"].flux, FLUX[1])
    assert_array_equal(results["d_grey.npy#19"].image, IMAGES[19, :, :, :1])


@pytest.mark.parametrize("name", ["a.h5", "a.npz", "packed.npz", "a.parquet"])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.uint64])
def test_ids_that_are_not_exact_are_refused_with_the_reason(tmp_path, name, kind):
    ids = IDS.astype(kind)
    if kind is np.uint64:
        ids[140] = 2**63
    write(tmp_path / name, images=IMAGES, object_ids=ids)
    (entry,) = list_entries(tmp_path, OPTIONS)
    (result,) = read_many([entry], OPTIONS)
    assert isinstance(result, Rejected)
    assert (result.source, result.rule) == (name, "bad id")
    assert ("outside int64" if kind is np.uint64 else "17 digits") in result.reason


def test_one_id_too_many_is_refused(tmp_path):
    write(tmp_path / "a.h5", reals=IMAGES, object_ids=np.append(IDS, 1))
    (result,) = read_many(list(list_entries(tmp_path, OPTIONS)), OPTIONS)
    assert result.rule == "bad id"
    assert "150 images and ids of shape (151,)" in result.reason


def test_pickles_stay_shut(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}, {}], object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", images=np.array([{}, {}], object))
    np.savez_compressed(tmp_path / "c.npz", images=np.array([{}, {}], object))
    results = read_many(list(list_entries(tmp_path, OPTIONS)), OPTIONS)
    assert [result.rule for result in results] == ["unreadable"] * 3
    assert "pickle" in results[1].reason


def test_containers_without_images_say_what_they_hold(tmp_path):
    write(tmp_path / "a.h5", galaxies=IMAGES)
    pq.write_table(pa.table({"object_id": [1], "mag": [2.0]}), tmp_path / "b.parquet")
    (tmp_path / "c.h5").write_bytes(b"not HDF5")
    (tmp_path / "d.npz").write_bytes(b"")
    results = read_many(list(list_entries(tmp_path, OPTIONS)), OPTIONS)
    assert [result.rule for result in results] == ["no image", "no image", "unreadable", "empty file"]
    assert "galaxies" in results[0].reason
    assert "object_id, mag" in results[1].reason


def test_one_bad_row_leaves_the_others(tmp_path):
    data = [png(IMAGES[0]), b"text", None, png(IMAGES[1, :20, :20]), png(IMAGES[2])]
    pq.write_table(pa.table({"image": pa.array(data, pa.binary())}), tmp_path / "a.parquet")
    write(tmp_path / "b.h5", images=np.stack([IMAGES[0], IMAGES[0] * 0, IMAGES[2]]))
    results = read_many(list(list_entries(tmp_path, OPTIONS)), OPTIONS)
    rules = [getattr(result, "rule", "") for result in results]
    assert rules == ["", "unreadable", "empty file", "too small", "", "", "constant image", ""]


def test_rows_are_read_by_the_slice_not_all_at_once(tmp_path, monkeypatch):
    write(tmp_path / "packed.npz", images=IMAGES, object_ids=IDS)
    sizes = []
    read = arrays._Streamed._read
    monkeypatch.setattr(arrays._Streamed, "_read", lambda self, n: sizes.append(n) or read(self, n))
    entries = list(list_entries(tmp_path, OPTIONS))
    assert sizes == [N, N]  # ids only, twice: checked, then listed
    sizes.clear()
    read_many(entries[100:102], OPTIONS)
    assert set(sizes) == {1}
    assert sum(sizes) == 102
