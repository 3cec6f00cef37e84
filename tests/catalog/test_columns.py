import pyarrow as pa
import pytest
from astropy.io.votable.ucd import check_ucd
from astropy.units import Unit

from peculiar.catalog.columns import COLUMNS, RELEASED_NAMES, describe, describe_schema, to_released

BIG = 43158859342174406  # above 2**53: float64 holds only its neighbors


def catalog():
    return pa.table(
        {
            "object_id": pa.array([BIG, BIG + 1, -7], pa.int64()),
            "ra": [150.0, None, 10.0],
            "dec": [2.0, None, -1.0],
            "score_gen_sigma": [1.0, 2.0, 3.0],
            "score_disc_sigma": [4.0, 5.0, 6.0],
            "score_anom_sigma": [7.0, 8.0, 9.0],
            "mine": [1, 2, 3],
        }
    )


def test_every_column_has_a_valid_type_unit_and_ucd():
    for name, column in COLUMNS.items():
        assert name == column.name
        assert str(pa.type_for_alias(column.dtype)) == column.dtype
        assert check_ucd(column.ucd, check_controlled_vocabulary=True), name
        Unit(column.unit, format="fits")
        Unit(column.unit, format="vounit")
        assert column.description


def test_every_score_says_that_larger_is_more_anomalous():
    scores = [column for name, column in COLUMNS.items() if name.startswith("score_")]
    assert len(scores) == 4 * 5 + 1
    assert all("larger is more anomalous" in column.description for column in scores)


def test_known_columns_are_described_and_the_users_own_pass_through():
    own = pa.field("mine", pa.int64(), metadata={b"unit": b"furlong"})
    table = catalog().cast(catalog().schema.set(6, own))
    described = describe(table, reconstruction_weight=0.3, combination_weight=0.5)
    assert described.equals(table)
    assert described.schema.field("ra").metadata[b"unit"] == b"deg"
    assert described.schema.field("ra").metadata[b"ucd"] == b"pos.eq.ra;meta.main"
    assert described.schema.field("mine").metadata == {b"unit": b"furlong"}
    assert described.schema.metadata == {b"reconstruction_weight": b"0.3", b"combination_weight": b"0.5"}


def test_weights_are_named_where_the_description_mentions_them():
    schema = pa.schema([("score_anom", pa.float64()), ("score_gen", pa.float64()), ("ra", pa.float64())])
    described = describe_schema(schema, reconstruction_weight=0.25, combination_weight=0.5)
    assert b"(combination_weight 0.5)" in described.field("score_anom").metadata[b"description"]
    assert b"(reconstruction_weight 0.25)" in described.field("score_gen").metadata[b"description"]
    assert b"weight 0" not in described.field("ra").metadata[b"description"]


def test_an_object_id_of_another_type_is_refused():
    with pytest.raises(ValueError, match="object_id must be int64, got double"):
        describe_schema(pa.schema([("object_id", pa.float64())]))


def test_a_weight_outside_0_to_1_is_refused():
    with pytest.raises(ValueError, match=r"combination_weight must be from 0 to 1, got 1\.5"):
        describe_schema(pa.schema([]), combination_weight=1.5)


def test_released_names_hold_our_values_and_exact_ids():
    released = to_released(catalog(), first_index=100)
    assert released.column_names == list(RELEASED_NAMES)
    assert released["idx"].to_pylist() == [100, 101, 102]
    assert released["HSC_object_id"].to_pylist() == [BIG, BIG + 1, -7]
    assert released["discriminator_score_normalized"].to_pylist() == [4.0, 5.0, 6.0]
    assert released["generator_score_normalized"].to_pylist() == [1.0, 2.0, 3.0]
    assert released["combined_score_normalized"].to_pylist() == [7.0, 8.0, 9.0]
    assert released.schema.field("ra").metadata[b"unit"] == b"deg"
    assert b"idx" in released.schema.field("idx").metadata[b"description"]


def test_an_imported_release_keeps_its_index():
    table = catalog().append_column("release_index", pa.array([9, 5, 7]))
    assert to_released(table)["idx"].to_pylist() == [9, 5, 7]


def test_released_names_of_an_empty_table():
    assert to_released(catalog().slice(0, 0)).num_rows == 0


def test_a_missing_column_is_named():
    with pytest.raises(KeyError, match="score_disc_sigma"):
        to_released(catalog().drop_columns(["score_disc_sigma"]))
