import pytest
import sqlglot
from sqlglot import exp

from peculiar.io.archives.hsc_query import BANDS, HscQuery, hsc_sql, known_columns

QUERIES = {
    "paper": HscQuery(),
    "pdr3": HscQuery(release="pdr3"),
    "pdr3 masks": HscQuery(release="pdr3", is_masks=True, is_galaxies=True, n_rows=10),
    "box": HscQuery(box=(149.0, 151.0, -1.0, 3.0), bands=("g", "r", "i"), flags=("none",), n_inputs=0),
    "cone": HscQuery(release="pdr3", cone=(150.1, -2.2, 60.0), mag_band="r", min_mag=18, max_mag=25.5),
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_every_name_of_the_query_is_in_the_shipped_list(query):
    (tree,) = sqlglot.parse(hsc_sql(query), read="postgres", error_level=sqlglot.ErrorLevel.RAISE)
    known = known_columns(query.release)
    tables = {}
    for table in tree.find_all(exp.Table):
        assert table.db == f"{query.release}_wide"
        assert table.name in known
        tables[table.alias] = table.name
    for column in tree.find_all(exp.Column):
        assert column.name in known[tables[column.table]], column.sql()
    for join in tree.find_all(exp.Join):
        assert [each.name for each in join.args["using"]] == ["object_id"]
    functions = {each.name for each in tree.find_all(exp.Anonymous)}
    assert functions <= {"boxSearch", "coneSearch"}
    returned = [each.alias_or_name for each in tree.expressions]
    assert len(set(returned)) == len(returned)


def test_what_the_published_query_left_out_is_returned():
    for release in ("pdr2", "pdr3"):
        (tree,) = sqlglot.parse(hsc_sql(HscQuery(release=release)), read="postgres")
        returned = {each.alias_or_name for each in tree.expressions}
        ellipses = {
            f"{band}_cmodel_{model}ellipse_{element}"
            for band in "ir"
            for model in ("exp_", "dev_", "")
            for element in (11, 22, 12)
        }
        fluxes = {f"{band}_cmodel_flux" for band in "gri"} | {"i_convolvedflux_3_20_flux"}
        assert returned >= fluxes | ellipses | {"i_blendedness_abs_flux", "i_blendedness_flag", "parent_id", "a_g"}


def test_the_default_cuts_are_the_paper_s():
    (tree,) = sqlglot.parse(hsc_sql(HscQuery()), read="postgres")
    cuts = {each.sql("postgres") for each in tree.args["where"].this.flatten()}
    flags = [*("bright_objectcenter", "bright_object", "edge", "saturatedcenter", "interpolatedcenter", "crcenter")]
    expected = {"f1.isprimary", "f1.nchild = 0", "f1.i_cmodel_mag >= 20.0", "f1.i_cmodel_mag < 20.5"}
    expected |= {f"f1.{band}_inputcount_value >= 3" for band in BANDS}
    expected |= {f"NOT f1.{band}_pixelflags_{flag}" for band in BANDS for flag in flags}
    expected |= {f"NOT f1.{band}_cmodel_flag" for band in BANDS}
    assert cuts == expected  # no cut on extendedness: the paper has none


@pytest.mark.parametrize(
    "given",
    [
        {"release": "pdr9"},
        {"bands": ("g", "x")},
        {"bands": ()},
        {"flags": ("'; DROP TABLE forced",)},
        {"mag_band": "i; --"},
        {"min_mag": 21.0},
        {"box": (1.0, 2.0)},
        {"box": (1.0, 2.0, 3.0, 4.0), "cone": (1.0, 2.0, 3.0)},
        {"cone": (1.0, 99.0, 3.0)},
        {"box": (1.0, float("nan"), 3.0, 4.0)},
        {"is_masks": True},
        {"n_inputs": -1},
    ],
)
def test_options_that_are_no_query_are_refused(given):
    with pytest.raises(ValueError, match=r"must|not both|are known"):
        HscQuery(**given)
