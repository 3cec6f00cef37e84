import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from peculiar.survey import ImageForm, ShuffledImages, Survey, Table, hash_id, hashed, permuted

LARGE = 2**53 + 1  # float64 rounds it
IDS = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20, unique=True)
FORM = ImageForm(size=32, channels=2, bands=("i", "r"), flux_bands=2, pixel_scale=0.168, stretch="asinh")


def write_survey(path, object_ids, *, sources=None, form=FORM, seed=0):
    """A survey of random images with flux; returns it with what was written."""
    n, random = len(object_ids), np.random.default_rng(seed)
    images = random.integers(0, 256, (n, *form.shape), np.uint8)
    flux = random.normal(size=(n, form.flux_bands, form.size, form.size)).astype(np.float32)
    schema = pa.schema(
        [
            ("object_id", pa.int64()),
            ("source", pa.string()),
            ("image", pa.binary(images[0].nbytes)),
            ("flux", pa.binary(flux[0].nbytes)),
        ],
        metadata=form.to_metadata(),
    )
    columns = [
        pa.array(object_ids, pa.int64()),
        pa.array(sources or [f"{each}.png" for each in object_ids]),
        pa.array([each.tobytes() for each in images], schema.field("image").type),
        pa.array([each.tobytes() for each in flux], schema.field("flux").type),
    ]
    survey = Survey(path)
    survey.append_in_commits([pa.record_batch(columns, schema=schema)], schema, n_rows=10)
    return survey, images, flux


def numbers(values):
    schema = pa.schema([("object_id", pa.int64()), ("value", pa.float64())])
    ids = np.asarray(values, np.int64)
    return pa.record_batch([pa.array(ids), pa.array(ids / 2)], schema=schema), schema


# --- rows by id


def test_images_and_fluxes_come_back_in_the_order_asked_for_also_twice(tmp_path):
    object_ids = [7, -3, LARGE, LARGE - 1, -LARGE, 2**63 - 1, 1 - 2**63]
    survey, images, flux = write_survey(tmp_path / "t.lance", object_ids)
    order = [4, 0, 6, 2, 3, 5, 1, 2]
    asked = [object_ids[each] for each in order]
    assert_array_equal(survey.images(asked), images[order])
    assert_array_equal(survey.flux(np.array(asked)), flux[order])
    assert survey.take(asked, ["object_id"])["object_id"].to_pylist() == asked
    assert survey.images([]).shape == (0, 32, 32, 2)


def test_the_smallest_id_of_all_is_found_too(tmp_path):
    survey, images, _ = write_survey(tmp_path / "t.lance", [7, -(2**63)])
    assert_array_equal(survey.images([-(2**63)]), images[1:])


def test_a_scan_gives_the_same_images_in_batches(tmp_path):
    survey, images, flux = write_survey(tmp_path / "t.lance", list(range(25)))
    batches = list(survey.scan(["object_id", "image", "flux"], batch_size=4))
    assert max(batch.num_rows for batch in batches) <= 4
    assert_array_equal(np.concatenate([survey.images_of(batch) for batch in batches]), images)
    assert_array_equal(np.concatenate([survey.flux_of(batch) for batch in batches]), flux)


def test_missing_ids_are_named_the_first_few(tmp_path):
    survey, _, _ = write_survey(tmp_path / "t.lance", [1, LARGE])
    with pytest.raises(KeyError, match=f"no object {LARGE - 1} in"):
        survey.images([1, LARGE - 1, LARGE])
    with pytest.raises(KeyError, match="no object 10, 11, 12, 13, 14 and 3 more in"):
        survey.take(np.arange(10, 18))


def test_more_ids_than_one_look_up_takes_come_in_order(tmp_path):
    batch, schema = numbers(np.arange(2_500))
    table = Table(tmp_path / "t.lance")
    table.append([batch], schema)
    asked = np.random.default_rng(0).permutation(2_500)
    assert_array_equal(table.take(asked, ["value"])["value"].to_numpy(), asked / 2)


def test_the_form_survives_the_file(tmp_path):
    survey, _, _ = write_survey(tmp_path / "t.lance", [1])
    assert Survey(survey.path).form == FORM
    assert ImageForm.from_metadata(ImageForm(size=40, channels=1).to_metadata()) == ImageForm(size=40, channels=1)


def test_an_absent_flux_is_refused_with_the_remedy(ingested):
    survey = Survey(ingested / "survey" / "table.lance")
    with pytest.raises(ValueError, match="keeps no flux; ingest with --keep-flux"):
        survey.flux(survey.object_ids()[:1])


def test_an_absent_table_is_empty_and_opening_it_says_what_to_do(tmp_path):
    table = Table(tmp_path / "none.lance")
    assert (len(table), table.version, list(table.scan()), table.object_ids().tolist()) == (0, 0, [], [])
    with pytest.raises(FileNotFoundError, match="peculiar status"):
        table.open()


# --- finding one object


def test_an_object_is_found_by_its_id_or_by_its_source(tmp_path):
    sources = ["a.png", """it's "here".png""", "'; drop --", "100%_x.png"]
    survey, _, _ = write_survey(tmp_path / "t.lance", [1, -LARGE, 3, 4], sources=sources)
    for object_id, source in zip([1, -LARGE, 3, 4], sources, strict=True):
        assert survey.find(object_id) == object_id
        assert survey.find(str(object_id)) == object_id
        assert survey.find(source) == object_id


def test_a_source_of_digits_is_found_where_no_id_is_meant(tmp_path):
    survey, _, _ = write_survey(tmp_path / "t.lance", [1, 12], sources=["34", "1"])
    assert survey.find("34") == 1
    assert survey.find("1") == 1  # ids go first


@pytest.mark.parametrize("name", [2, "2", "b.png", -LARGE + 1, 2**63, "--1", "", "²"])
def test_what_is_neither_id_nor_source_is_a_key_error(tmp_path, name):
    survey, _, _ = write_survey(tmp_path / "t.lance", [1, -LARGE])
    with pytest.raises(KeyError, match="no object"):
        survey.find(name)


# --- appending


def test_a_kill_loses_at_most_what_was_gathered_since_the_last_commit(tmp_path):
    table = Table(tmp_path / "t.lance")
    parts = [numbers(np.arange(first, first + 4)) for first in range(0, 24, 4)]

    def dying():
        for place, (batch, _) in enumerate(parts):
            if place == 5:
                raise KeyboardInterrupt
            yield batch

    with pytest.raises(KeyboardInterrupt):
        table.append_in_commits(dying(), parts[0][1], n_rows=8)
    assert_array_equal(table.object_ids(), np.arange(16))
    everything, schema = numbers(np.arange(24))
    source = Table(tmp_path / "source.lance")
    source.append([everything], schema)
    table.append_in_commits(source.scan(but_not=table), schema, n_rows=8)
    assert_array_equal(table.object_ids(), np.arange(24))
    table.append_in_commits(source.scan(but_not=table), schema, n_rows=8)
    assert len(table) == 24


def test_a_table_of_no_rows_is_a_table(tmp_path):
    table, (_, schema) = Table(tmp_path / "t.lance"), numbers([1])
    table.append_in_commits([], schema, n_rows=8)
    assert (table.exists(), len(table)) == (True, 0)
    with pytest.raises(KeyError, match="no object 1 in"):
        table.take([1])
    table.append_in_commits([numbers([1, 2])[0]], schema, n_rows=8)
    assert table.take([2])["value"].to_pylist() == [1.0]


@settings(max_examples=15, deadline=None)
@given(present=IDS, other=IDS)
def test_a_scan_leaves_out_exactly_the_objects_of_the_other_table(tmp_path_factory, present, other):
    folder = tmp_path_factory.mktemp("scan")
    tables = []
    for name, object_id in (("a", present), ("b", other)):
        batch, schema = numbers(object_id)
        tables.append(Table(folder / name))
        tables[-1].append([batch], schema)
    found = [each for batch in tables[0].scan(but_not=tables[1]) for each in batch["object_id"].to_pylist()]
    assert found == [each for each in present if each not in other]


def test_numeric_columns_are_arrays_and_null_is_nan(tmp_path):
    schema = pa.schema([("object_id", pa.int64()), ("value", pa.float64())])
    table = Table(tmp_path / "t.lance")
    table.append([pa.record_batch([pa.array([LARGE, 2]), pa.array([None, 1.5])], schema=schema)], schema)
    assert_array_equal(table.column("value"), [np.nan, 1.5])
    assert table.object_ids().tolist() == [LARGE, 2]


def test_look_ups_use_an_index_on_object_id_also_for_rows_appended_later(tmp_path):
    table = Table(tmp_path / "t.lance")
    for first in (0, 100):
        batch, schema = numbers(np.arange(first, first + 100))
        table.append_in_commits([batch], schema, n_rows=50)
        assert [index.field_names for index in table.open().describe_indices()] == [["object_id"]]
        assert table.take([first + 7], ["value"])["value"].to_pylist() == [(first + 7) / 2]


# --- ids and samples


def test_an_id_is_the_first_63_bits_of_blake2b_of_the_source():
    source = "fields/Grönland 12.fits"
    eight_bytes = hashlib.blake2b(source.encode("utf-8"), digest_size=8).hexdigest()
    assert hash_id(source) == int(eight_bytes, 16) // 2
    assert all(0 <= hash_id(f"{each}.png") < 2**63 for each in range(200))
    assert hash_id("a") != hash_id("b")


def test_a_sample_depends_on_ids_and_seed_alone(tmp_path):
    object_id = np.random.default_rng(1).integers(-(2**63), 2**63 - 1, 300)
    samples = []
    for name, ids in (("a", object_id), ("b", object_id[::-1])):
        batch, schema = numbers(ids)
        table = Table(tmp_path / name)
        table.append([batch], schema)
        samples.append(table.sample(50, seed=3).tolist())
        assert sorted(table.sample(1_000, seed=3)) == sorted(object_id)
    assert samples[0] == samples[1]
    assert len(set(samples[0])) == 50
    assert samples[0] != table.sample(50, seed=4).tolist()


def test_hashes_of_neighboring_ids_are_spread_evenly():
    hashes = hashed(np.arange(-5_000, 5_000), seed=-1)
    assert len(np.unique(hashes)) == 10_000
    counts = np.histogram((hashes >> np.uint64(60)).astype(int), bins=16, range=(0, 16))[0]
    assert counts.min() > 500  # 625 expected, deviation 24
    assert counts.max() < 750


# --- shuffling


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 700), key=st.tuples(st.integers(-(2**40), 2**40), st.integers(0, 5), st.integers(0, 3)))
def test_permuted_is_a_permutation(size, key):
    places = np.arange(size)
    moved = permuted(places, size, key=key)
    assert_array_equal(np.sort(moved), places)
    assert_array_equal(permuted(places[::-1], size, key=key), moved[::-1])


def test_permutations_are_the_same_by_key_and_differ_by_seed_and_epoch():
    places = np.arange(200)
    orders = [permuted(places, 200, key=key).tolist() for key in ((0, 0), (0, 0), (0, 1), (1, 0), (-1, 0))]
    assert orders[0] == orders[1]
    assert len({tuple(each) for each in orders}) == 4


def test_a_permutation_leaves_no_trend():
    moved = permuted(np.arange(5_000), 5_000, key=(2, 0))
    assert abs(np.corrcoef(np.arange(5_000), moved)[0, 1]) < 0.06  # four deviations of chance


def images_of(survey):
    return survey.images(survey.object_ids())


def counts_of(batches, images):
    """How often each of `images` is among the batches."""
    numbers = {image.tobytes(): place for place, image in enumerate(images)}
    counts = np.zeros(len(images), int)
    for image in np.concatenate(batches):
        counts[numbers[image.tobytes()]] += 1
    return counts


def test_an_epoch_shows_every_image_once_even_across_batches_that_do_not_divide(ingested):
    survey = Survey(ingested / "survey" / "table.lance")
    shuffled, images = ShuffledImages(survey, 24, seed=5), images_of(survey)
    batches = [shuffled.batch(number) for number in range(8)]  # 192 = 3 epochs of 64
    assert_array_equal(counts_of(batches, images), 3)
    rows = np.concatenate([shuffled.rows(number) for number in range(8)])
    for epoch in range(3):
        assert_array_equal(np.sort(rows[64 * epoch : 64 * (epoch + 1)]), np.arange(64))
    assert rows[:64].tolist() != rows[64:128].tolist()


def test_a_batch_is_the_same_whenever_it_is_asked_for(ingested):
    survey = Survey(ingested / "survey" / "table.lance")
    first, again = ShuffledImages(survey, 10, seed=5), ShuffledImages(survey, 10, seed=5)
    later = first.batch(1_000_000)
    assert_array_equal(again.batch(3), first.batch(3))
    assert_array_equal(again.batch(1_000_000), later)
    assert (ShuffledImages(survey, 10, seed=6).batch(3) != again.batch(3)).any()


def test_a_batch_larger_than_the_survey_repeats_images(tmp_path):
    survey, images, _ = write_survey(tmp_path / "t.lance", [1, 2, 3])
    batch = ShuffledImages(survey, 7, seed=0).batch(0)
    counts = counts_of([batch], images)
    assert counts.sum() == 7
    assert counts.min() == 2


def test_strata_are_shown_equally_often_and_each_of_their_images_once_an_epoch(ingested):
    survey = Survey(ingested / "survey" / "table.lance")
    strata = np.repeat([4, 9, 9, 9], 16)  # 16 and 48 rows
    shuffled = ShuffledImages(survey, 6, seed=1, strata=strata)
    rows = np.stack([shuffled.rows(number) for number in range(16)])  # 48 places each
    assert_array_equal((strata[rows] == 4).sum(axis=1), 3)
    counts = np.bincount(rows.ravel(), minlength=64)
    assert_array_equal(counts[strata == 4], 3)
    assert_array_equal(counts[strata == 9], 1)


def test_an_empty_survey_is_refused_for_training(tmp_path):
    survey, _, _ = write_survey(tmp_path / "t.lance", [1])
    survey.open().delete("object_id = 1")
    with pytest.raises(ValueError, match="holds no image; ingest some first"):
        ShuffledImages(survey, 4, seed=0)
