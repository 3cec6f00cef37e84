import csv
import json
import runpy
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace

import httpx
import pytest

from peculiar.io.archives import catalog_jobs
from peculiar.io.archives.archive import Piece, Target, host_of
from peculiar.io.archives.catalog_jobs import JobOptions, run_query
from peculiar.io.archives.credentials import find_credentials
from peculiar.io.archives.hips import Hips
from peculiar.io.archives.hsc import LOGIN, Hsc
from peculiar.io.archives.legacysurvey import LegacySurvey
from peculiar.io.archives.transport import Outcome, Pace, connected, receive, retry_after

local = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "archives" / "servers.py")))
TARGET = Target("-5", -5, 150.25, -2.5)
SQL = "SELECT object_id FROM pdr2_wide.forced"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HSC_SSP_CAS_USER", local.USER)
    monkeypatch.setenv("HSC_SSP_CAS_PASSWORD", local.PASSWORD)
    with local.serving() as state:
        yield state


# --- what is asked for


def test_the_list_of_hsc_is_as_the_service_wants_it():
    archive = Hsc(release="pdr3")
    ask = archive.ask(archive.pieces(TARGET))
    assert ask.url == "https://hsc-release.mtk.nao.ac.jp/das_cutout/pdr3/cgi-bin/cutout"
    field, text = ask.upload
    assert field == "list"
    assert text.splitlines()[:2] == [
        "#? rerun filter ra dec sw sh # column descriptor",
        " pdr3_wide HSC-I 150.25000000 -2.50000000 10asec 10asec # -5",
    ]
    assert archive.traits.per_request == 999  # the bands of an object stay together


def test_the_viewer_is_asked_in_its_own_words():
    ask = LegacySurvey(form="jpeg").ask([Piece(TARGET, "", ".jpg")])
    url = httpx.URL(ask.url, params=dict(ask.params))
    assert str(url) == (
        "https://www.legacysurvey.org/viewer/jpeg-cutout?"
        "ra=150.25000000&dec=-2.50000000&layer=ls-dr10&pixscale=0.262&size=96&bands=grz"
    )


def test_hips2fits_is_asked_in_its_own_words():
    archive = Hips(hips=("CDS/P/DES-DR2/i", "CDS/P/DES-DR2/r"))
    pieces = archive.pieces(TARGET)
    assert [each.file[2:] for each in pieces] == ["/-5_i.fits", "/-5_r.fits"]
    assert archive.ask(pieces[1:]).params == {
        "hips": "CDS/P/DES-DR2/r",
        "ra": "150.25000000",
        "dec": "-2.50000000",
        "fov": "0.0066666667",
        "width": "96",
        "height": "96",
        "projection": "TAN",
        "coordsys": "icrs",
        "format": "fits",
    }


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Hsc(bands=("HSC-I", "HSC-I")), "different names"),
        (lambda: Hsc(bands=("../x",)), "letters, digits"),
        (lambda: Hsc(size_arcsec=1.0), "5.4"),
        (lambda: Hsc(rows=1_001), "1000"),
        (lambda: Hsc(base_url="http://example.org"), "https"),
        (lambda: Hsc(base_url="https://me:secret@example.org"), "no user or password"),
        (lambda: Hsc(base_url="ftp://example.org"), "http"),
        (lambda: LegacySurvey(bands=("gr",)), "one letter"),
        (lambda: LegacySurvey(size=16), "32"),
        (lambda: Hips(hips=()), "different names"),
        (lambda: Hips(hips=("a/i", "b/i")), "different names"),
        (lambda: Hips(hips=("a/i", "b/r"), form="jpg"), "must be one"),
        (lambda: JobOptions(base_url="http://example.org"), "https"),
    ],
)
def test_options_that_cannot_be_are_refused(make, words):
    with pytest.raises(ValueError, match=words) as caught:
        make()
    assert "secret" not in str(caught.value)


# --- accounts


def test_an_account_comes_from_environment_netrc_or_keyring(tmp_path, monkeypatch):
    for name in LOGIN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(PermissionError, match=r"set HSC_SSP_CAS_USER"):
        find_credentials("127.0.0.1", LOGIN)
    keyring = ModuleType("keyring")
    keyring.get_credential = lambda service, user: (
        SimpleNamespace(username="ring", password="key") if service == "peculiar:127.0.0.1" else None
    )
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    assert find_credentials("127.0.0.1", LOGIN) == ("ring", "key")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login net password rc\n")
    (tmp_path / "netrc").chmod(0o600)
    assert find_credentials("127.0.0.1", LOGIN) == ("net", "rc")
    monkeypatch.setenv(LOGIN[0], "en")
    monkeypatch.setenv(LOGIN[1], "vironment")
    assert find_credentials("127.0.0.1", LOGIN) == ("en", "vironment")
    monkeypatch.delenv(LOGIN[0])
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login net passwort s3cret\n")
    with pytest.raises(PermissionError, match="netrc cannot be read") as caught:
        find_credentials("127.0.0.1", LOGIN)
    assert "s3cret" not in str(caught.value)


# --- HTTP


@pytest.mark.parametrize(
    ("value", "seconds"), [("", 0), ("7", 7), ("soon", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("-3", 0)]
)
def test_retry_after_is_read(value, seconds):
    assert retry_after(value) == seconds


def test_retry_after_may_be_a_date():
    assert 50 < retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)) <= 60


def test_nobody_there_is_an_outcome(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with local.serving() as state:
        url = state.url
    archive = LegacySurvey(base_url=url)
    with connected(2.0, 1, None) as client:
        ask = archive.ask(archive.pieces(TARGET))
        outcome = receive(client, ask, tmp_path / "x", Pace(0.0), max_bytes=100, timeout_seconds=2.0)
    assert outcome == Outcome("no connection: ConnectError")


def test_a_reply_without_end_is_ended(server, tmp_path):
    archive = LegacySurvey(base_url=server.url)
    with connected(5.0, 1, None) as client:
        ask = archive.ask(archive.pieces(TARGET))
        outcome = receive(client, ask, tmp_path / "x", Pace(0.0), max_bytes=100, timeout_seconds=5.0)
    assert outcome.reason == "a reply above 100 bytes"
    assert outcome.is_final


def test_hosts_are_read():
    assert host_of("https://example.org/x") == "example.org"
    assert host_of("http://127.0.0.1:80", is_secret=True) == "127.0.0.1"


# --- the catalog service


def options_at(server, **given) -> JobOptions:
    return JobOptions(base_url=server.url, **{"poll_seconds": 0.01, "timeout_seconds": 5.0, **given})


def test_a_query_is_submitted_awaited_downloaded_and_deleted(server, tmp_path, caplog):
    caplog.set_level(0)
    output = run_query(SQL, "pdr2", tmp_path / "table.csv", options_at(server))
    assert output.read_bytes() == server.table
    assert [each.name for each in tmp_path.iterdir()] == ["table.csv"]
    (job,) = server.jobs.values()
    assert job["release_version"] == "pdr2"
    assert job["out_format"] == "csv"
    assert job["sql"] == SQL
    assert job["deleted"]
    assert local.PASSWORD not in caplog.text
    with pytest.raises(FileExistsError):
        run_query(SQL, "pdr2", output, options_at(server))


@pytest.mark.parametrize("what", ["submit", "status", "download", "delete"])
@pytest.mark.parametrize("fault", ["500", "429", "cut", "page"])
def test_faults_that_pass_are_borne(server, tmp_path, what, fault):
    server.fault = lambda key, n: fault if key == what and n == 0 else ""
    output = run_query(SQL, "pdr3", tmp_path / "table.csv", options_at(server))
    assert output.read_bytes() == server.table
    assert server.jobs[1]["deleted"]
    assert len(server.jobs) == 1


@pytest.mark.parametrize("has_ranges", [True, False])
def test_a_cut_download_goes_on_where_it_stopped(server, tmp_path, has_ranges):
    server.has_ranges = has_ranges
    server.fault = lambda key, n: "cut" if key == "download" and n == 0 else ""
    with pytest.raises(ConnectionError, match="the same command goes on"):
        run_query(SQL, "pdr2", tmp_path / "t.csv", options_at(server, n_tries=1))
    partial = tmp_path / "t.csv.partial"
    assert 0 < partial.stat().st_size < len(server.table)
    record = json.loads((tmp_path / "t.csv.job.json").read_text())
    assert record["job"] == 1
    assert local.PASSWORD not in json.dumps(record)
    n_headers = len(server.headers)
    assert run_query(SQL, "pdr2", tmp_path / "t.csv", options_at(server)).read_bytes() == server.table
    assert any("Range" in each for each in server.headers[n_headers:])
    assert len(server.jobs) == 1


def test_the_service_s_own_name_of_a_release_is_passed_on(server, tmp_path):
    run_query(SQL, "pdr3", tmp_path / "t.csv", options_at(server, release_version="pdr3-citus", is_kept=True))
    assert server.jobs[1]["release_version"] == "pdr3-citus"
    assert "deleted" not in server.jobs[1]


def test_another_query_does_not_take_over_a_job(server, tmp_path):
    server.fault = lambda key, n: "500" if key == "status" else ""
    with pytest.raises(ConnectionError):
        run_query(SQL, "pdr2", tmp_path / "t.csv", options_at(server, n_tries=1))
    with pytest.raises(ValueError, match="another query"):
        run_query(SQL + " LIMIT 1", "pdr2", tmp_path / "t.csv", options_at(server))


def test_what_the_archive_says_of_a_query_is_told_without_the_password(server, tmp_path):
    with pytest.raises(ValueError, match="syntax error") as caught:
        run_query("no query", "pdr2", tmp_path / "t.csv", options_at(server))
    assert local.PASSWORD not in str(caught.value)
    server.fault = lambda key, n: "error" if key == "status" else ""
    with pytest.raises(ValueError, match=r"column f1\.nothing does not exist"):
        run_query(SQL, "pdr2", tmp_path / "t.csv", options_at(server))


def test_a_refused_account_ends_it(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HSC_SSP_CAS_PASSWORD", "wrong")
    with pytest.raises(PermissionError, match="401"):
        run_query(SQL, "pdr2", tmp_path / "t.csv", options_at(server))
    assert server.n_requests == 1
    assert not list(tmp_path.iterdir())


def test_an_unknown_format_is_refused(server, tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.fits"):
        run_query(SQL, "pdr2", tmp_path / "t.txt", options_at(server))


def test_the_command_prints_the_query_and_submits_it(server, tmp_path):
    from typer.testing import CliRunner

    from peculiar.cli import app

    said = CliRunner().invoke(
        app, ["query", "hsc", "--release", "pdr3", "--box", "149,151,1,3"], catch_exceptions=False
    )
    assert said.exit_code == 0
    assert said.stdout.startswith("SELECT\n    f1.object_id,")
    assert "boxSearch(f1.coord, 149.0, 151.0, 1.0, 3.0)" in said.stdout
    command = ["query", "hsc", "--submit", str(tmp_path / "t.csv"), "--base-url", server.url, "--poll-seconds", "0.01"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    with (tmp_path / "t.csv").open() as stream:
        assert next(csv.reader(stream)) == ["object_id", "ra", "dec"]
    assert catalog_jobs.partial_of(tmp_path / "t.csv").name == "t.csv.partial"
