import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from numpy.testing import assert_allclose, assert_array_equal

from peculiar.io.answers import Answers
from peculiar.io.services import NED_URL, ROW, XMATCH_URL, Asker, find_service

local = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "services.py")))
RADIUS = 20.0
SERVICES = ("simbad", "ned", "vizier:II/246/out")


@pytest.fixture
def server(monkeypatch):
    with local.serving(local.known(300)) as state:
        monkeypatch.setenv(XMATCH_URL, f"{state.url}/xmatch/api/v1/sync")
        monkeypatch.setenv(NED_URL, f"{state.url}/tap/sync")
        yield state


def positions(server, n=60):
    """Near every other known object, one with none near, and the first twice."""
    random = np.random.default_rng(1)
    ra = np.asarray(server.table["ra"])[: 2 * n : 2] + random.normal(0, 3 / 3600, n)
    dec = np.asarray(server.table["dec"])[: 2 * n : 2] + random.normal(0, 3 / 3600, n)
    return np.r_[ra, 10.0, ra[0]], np.r_[dec, -50.0, dec[0]]


def asked(service, ra, dec, columns=(), **options):
    given = {"n_tries": 3, "timeout_seconds": 5.0, "pause_seconds": 0.0} | options
    with Asker(find_service(service), RADIUS, columns, **given) as asker:
        return asker.ask(ra, dec)


@pytest.mark.parametrize("service", SERVICES)
def test_answers_are_the_pairs_that_there_are(server, service):
    ra, dec = positions(server)
    redshift = "z" if service == "ned" else "redshift"
    pairs = asked(service, ra, dec, [redshift])
    theirs = SkyCoord(server.table["ra"], server.table["dec"], unit="deg")
    place, row, separation, _ = theirs.search_around_sky(SkyCoord(ra, dec, unit="deg"), RADIUS * units.arcsec)
    order = np.lexsort((pairs["separation_arcsec"], pairs["place"]))
    expected = np.lexsort((separation, place))
    assert len(expected) > 60
    assert 60 not in place
    assert_array_equal(pairs["place"].to_numpy()[order], place[expected])
    assert_allclose(pairs["separation_arcsec"].to_numpy()[order], separation.arcsec[expected], atol=2e-4)
    told = pairs.take(order).to_pydict()
    for each, (name, kind, value) in zip(
        row[expected], zip(told["known_as"], told["known_type"], told[f"_{redshift}"], strict=True), strict=True
    ):
        theirs_row = server.table[int(each)]
        assert name == theirs_row["name"]
        assert kind == (None if service.startswith("vizier") or not each else theirs_row["type"])
        assert value == (None if not each else pytest.approx(theirs_row["redshift"]))
    one, last = (np.flatnonzero(np.asarray(told["place"]) == which) for which in (0, 61))
    assert [told["counterpart"][each] for each in one] == [told["counterpart"][each] for each in last]
    assert pairs.schema.field(f"_{redshift}").metadata == {b"unit": b"km / s", b"description": b"of the lines"}
    assert server.n_requests == server.most_at_once == 1


@pytest.mark.parametrize("service", SERVICES)
def test_where_nothing_is_known_there_is_no_pair(server, service):
    pairs = asked(service, np.array([10.0]), np.array([-50.0]), ["z" if service == "ned" else "redshift"])
    assert pairs.num_rows == 0
    assert pairs.column_names[:3] == ["place", "separation_arcsec", "counterpart"]


@pytest.mark.parametrize("service", ["simbad", "ned"])
@pytest.mark.parametrize("fault", ["503", "429 0", "500", "page", "cut", "short"])
def test_what_fails_is_asked_for_again(server, service, fault):
    ra, dec = positions(server)
    whole = asked(service, ra, dec)
    server.fault = lambda number: fault if number == 2 else ""
    assert asked(service, ra, dec) == whole
    assert server.n_requests == 3


@pytest.mark.parametrize(("fault", "said"), [("503", "status 503"), ("page", "no VOTable"), ("cut", "connection cut")])
def test_a_service_that_is_down_is_left_alone(server, fault, said):
    server.fault = lambda number: fault
    with pytest.raises(
        ConnectionError, match=rf"127.0.0.1 gave no answer, tries: 3 \({said}.*the same command goes on"
    ):
        asked("simbad", *positions(server))
    assert server.n_requests == 3


def test_offline_is_said_clearly(monkeypatch):
    monkeypatch.setenv(NED_URL, "http://127.0.0.1:9/tap/sync")
    with pytest.raises(ConnectionError, match=r"no connection: ConnectError\); are you online\? What was answered"):
        asked("ned", np.array([1.0]), np.array([1.0]), n_tries=2)


def test_to_wait_long_is_not_waited_for_and_a_ban_is_not_argued_with(server):
    server.fault = lambda number: "503 4000"
    with pytest.raises(ConnectionError, match=r"asks to wait 4,000 s"):
        asked("simbad", *positions(server))
    server.fault = lambda number: "403"
    with pytest.raises(PermissionError, match=r"refuses access \(status 403\)"):
        asked("simbad", *positions(server))
    assert server.n_requests == 2


@pytest.mark.parametrize("fault", ["400", "says error"])
def test_a_wrong_question_is_told_in_the_services_words_and_not_repeated(server, fault):
    server.fault = lambda number: fault
    with pytest.raises(ValueError, match=r"127.0.0.1 .*Table II/999 does not exist"):
        asked("vizier:II/246/out", *positions(server))
    assert server.n_requests == 1


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_cut_off_is_asked_for_by_halves(server, service):
    ra, dec = positions(server)
    whole = asked(service, ra, dec).sort_by([("place", "ascending"), ("separation_arcsec", "ascending")])
    server.most_rows = 20
    halves = asked(service, ra, dec).sort_by([("place", "ascending"), ("separation_arcsec", "ascending")])
    assert halves.to_pydict() == whole.to_pydict()
    assert server.n_requests > 4
    server.most_rows = 0
    with pytest.raises(ValueError, match=r"more within 20 arcsec of ra .* smaller radius"):
        asked(service, ra, dec)


def test_a_service_that_moved_is_followed_with_the_form(server, monkeypatch):
    monkeypatch.setenv(XMATCH_URL, f"{server.url}/moved/xmatch/api/v1/sync")
    assert asked("simbad", *positions(server)).num_rows > 60
    assert server.n_requests == 2


@pytest.mark.parametrize("service", SERVICES)
def test_a_column_that_is_not_given_is_named_with_those_that_are(server, service):
    with pytest.raises(ValueError, match=r"gives no column magnitude; it gives: .*ra, dec"):
        asked(service, *positions(server), ["magnitude"])


@pytest.mark.parametrize("key", ["Simbad", "vizier", "vizier:", "vizier:II/246 out", "gaia", "vizier:../x?y"])
def test_services_that_there_are_not_are_refused(key):
    with pytest.raises(ValueError, match="service must be simbad, ned or vizier:TABLE"):
        find_service(key)


def test_addresses_are_those_of_the_manuals_unless_told(monkeypatch):
    monkeypatch.delenv(XMATCH_URL, raising=False)
    monkeypatch.delenv(NED_URL, raising=False)
    assert find_service("simbad").url.endswith("/xmatch/api/v1/sync")
    assert find_service("simbad").host.startswith("cdsxmatch.")
    assert find_service("ned").url == "https://ned.ipac.caltech.edu/tap/sync"
    monkeypatch.setenv(NED_URL, "ftp://x")
    with pytest.raises(ValueError, match="must be an http or https address"):
        _ = find_service("ned").host


@pytest.mark.parametrize("radius", [0.0, 180.1])
def test_radii_that_are_not_answered_are_refused(radius):
    with pytest.raises(ValueError, match=r"radius_arcsec must be above 0 and at most 180"):
        Asker(find_service("ned"), radius)


def test_answers_are_kept_by_position_and_question(server, tmp_path):
    ra, dec = positions(server)
    answers = Answers(tmp_path, "simbad 20")
    left = answers.missing(ra, dec)
    assert len(left[0]) == 61  # one is there twice
    part = slice(0, 40)
    answers.keep(left[0][part], left[1][part], asked("simbad", left[0][part], left[1][part]))
    assert_array_equal(answers.missing(ra, dec), np.stack(left)[:, 40:])
    answers.keep(left[0][40:], left[1][40:], asked("simbad", left[0][40:], left[1][40:]))
    assert len(answers.missing(ra, dec)[0]) == 0
    got = answers.pairs(*left).sort_by([("place", "ascending"), ("separation_arcsec", "ascending")])
    expected = asked("simbad", *left).sort_by([("place", "ascending"), ("separation_arcsec", "ascending")])
    assert got.select(expected.column_names).to_pydict() == expected.to_pydict()
    few = answers.pairs(left[0][5:7], left[1][5:7])
    assert set(few["place"].to_pylist()) <= {0, 1}
    assert few.num_rows == sum(each in (5, 6) for each in expected["place"].to_pylist())
    assert len(Answers(tmp_path, "simbad 21").missing(ra, dec)[0]) == 61
    assert Answers(tmp_path, "simbad 21").pairs(*left).num_rows == 0
    assert sum(pq.read_metadata(each).num_rows for each in tmp_path.glob("*.parquet")) >= 61


@pytest.mark.parametrize(
    "lies",
    [{"angDist": 5_000.0}, {"angDist": -3.0}, {"angDist": np.nan}, {"peculiar_row": -1}, {"peculiar_row": 2**40}],
)
def test_pairs_that_were_not_asked_for_are_refused(server, lies):
    ra, dec = positions(server)
    row = {ROW if name == "peculiar_row" else name: value for name, value in lies.items()}
    server.lies = row
    with pytest.raises(ValueError, match="pairs that were not asked for"):
        asked("simbad", ra, dec)


def test_what_has_no_name_is_told_apart_by_its_row(server):
    ra, dec = positions(server)
    server.lies = {"main_id": ""}
    pairs = asked("simbad", ra, dec)
    assert pairs["known_as"].null_count == 1
    assert pairs["counterpart"].null_count == 0
