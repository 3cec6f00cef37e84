import csv
import os
import runpy
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from peculiar import Atlas
from peculiar.io.archives.archive import Ask, Piece, Traits, host_of, whole
from peculiar.io.archives.checks import check_picture
from peculiar.io.archives.hips import Hips
from peculiar.io.archives.hsc import Hsc
from peculiar.io.archives.legacysurvey import LegacySurvey
from peculiar.run import read_run
from peculiar.stages import fetch as stage
from peculiar.stages.fetch import FetchConfig, fetch, ingest_command

local = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "archives" / "servers.py")))
QUICK = {"backoff_seconds": 0.01, "timeout_seconds": 10.0}
SIZE = {"size_arcsec": 6.0}  # 36 pixels
KINDS = ("hsc", "legacysurvey", "hips")


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HSC_SSP_CAS_USER", local.USER)
    monkeypatch.setenv("HSC_SSP_CAS_PASSWORD", local.PASSWORD)
    with local.serving() as state:
        yield state


def archive_at(url: str, kind: str = "legacysurvey", **options):
    if kind == "hsc":
        return Hsc(base_url=url, **{**SIZE, **options})
    if kind == "hips":
        options = {"hips": ("X/P/s/i", "X/P/s/r"), "size": 36, "fov_arcsec": 9.0} | options
        return Hips(base_url=f"{url}/hips2fits", **options)
    return LegacySurvey(base_url=url, **{"size": 36, **options})


def failures_in(folder: Path) -> dict[str, str]:
    path = folder / "failures.csv"
    if not path.exists():
        return {}
    with path.open(newline="") as stream:
        return {row["what"]: row["reason"] for row in csv.DictReader(stream)}


@pytest.fixture
def fetched(server, tmp_path):
    """Fetch a table of `n` objects."""

    def work(n=12, kind="legacysurvey", fault=None, archive=None, **config):
        table = tmp_path / "table.csv"
        ids = local.write_table(table, n)
        server.fault = fault or server.fault
        run = fetch(
            archive or archive_at(server.url, kind),
            FetchConfig(table=table, output=tmp_path / "out", **{**QUICK, **config}),
        )
        return SimpleNamespace(run=run, ids=ids, folder=tmp_path / "out", failures=failures_in(tmp_path / "out"))

    return work


# --- what comes


@pytest.mark.parametrize(("kind", "per_object"), [("hsc", 3), ("legacysurvey", 1), ("hips", 2)])
def test_all_comes_once_and_nothing_is_asked_for_again(server, fetched, kind, per_object):
    done = fetched(kind=kind)
    assert done.run.outputs["n_files"] == 12 * per_object
    assert done.run.outputs["n_failed"] == 0
    assert not (done.folder / "failures.csv").exists()
    assert set(server.sent.values()) == {1}
    assert read_run(done.folder).stage == f"fetch {kind}"
    n_requests = server.n_requests
    again = fetched(kind=kind)
    assert server.n_requests == n_requests
    assert again.run.outputs["n_known"] == 12 * per_object
    more = fetched(n=14, kind=kind)  # the table grew
    assert more.run.outputs["n_files"] == 14 * per_object
    assert set(server.sent.values()) == {1}


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_is_ingested_by_the_command_that_is_said(server, fetched, tmp_path, kind):
    done = fetched(kind=kind)
    archive = archive_at(server.url, kind)
    command = ingest_command(archive, done.run, done.folder)
    from typer.testing import CliRunner

    from peculiar.cli import app

    arguments = [each.strip("'") for each in command.split()[1:]]
    arguments[1] = str(tmp_path / "atlas")
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    survey = Atlas(tmp_path / "atlas").survey
    assert sorted(survey.object_ids().tolist()) == done.ids
    assert np.isfinite(survey.column("ra")).all()


def test_flux_keeps_its_bands_through_ingest(server, fetched, tmp_path):
    done = fetched(n=3, kind="hsc")
    atlas = Atlas(tmp_path / "atlas")
    atlas.ingest(
        done.folder,
        catalog=tmp_path / "table.csv",
        bands=("HSC-I", "HSC-R", "HSC-G"),
        band_pattern="{name}_{band}.fits",
        size=32,
        fit="crop",
        ids="name",
        keep_flux=True,
    )
    row = atlas.survey.take([done.ids[1]], ["flux", "magnitude"])
    flux = np.frombuffer(row["flux"][0].as_py(), np.float32).reshape(3, 32, 32)
    side = 37
    for band, plane in zip("IRG", flux, strict=True):
        made = local.flux_of(150.001, round(2 + 1 / 3000, 6), side, ord(band))
        assert min(np.abs(plane - made[a : a + 32, b : b + 32]).max() for a in (2, 3) for b in (2, 3)) < 1e-6


def test_pictures_are_fetched_and_ingested(server, tmp_path, fetched):
    done = fetched(n=4, archive=archive_at(server.url, form="jpeg"))
    assert done.run.outputs["n_files"] == 4
    Atlas(tmp_path / "atlas").ingest(done.folder, ids="name")
    assert sorted(Atlas(tmp_path / "atlas").survey.object_ids().tolist()) == done.ids
    for form in ("jpg", "png"):
        table, folder = tmp_path / "table.csv", tmp_path / form
        archive = archive_at(server.url, "hips", hips=("X/color",), form=form)
        assert fetch(archive, FetchConfig(table=table, output=folder, **QUICK)).outputs["n_files"] == 4


def test_a_table_without_ids_is_named_by_position(server, tmp_path):
    local.write_table(tmp_path / "table.csv", 3, has_ids=False)
    config = FetchConfig(table=tmp_path / "table.csv", output=tmp_path / "out", **QUICK)
    run = fetch(archive_at(server.url), config)
    assert "--ids" not in ingest_command(archive_at(server.url), run, config.output)
    atlas = Atlas(tmp_path / "atlas")
    atlas.ingest(config.output, catalog=config.output / "objects.csv", bands=("z", "r", "g"))
    assert sorted(atlas.survey.column("ra").round(6).tolist()) == [150.0, 150.001, 150.002]


def test_rows_that_cannot_be_asked_for_are_listed(server, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("object_id,ra,dec\n1,150,2\n2,,\n3,150,95\n1,150,2\n")
    run = fetch(archive_at(server.url), FetchConfig(table=table, output=tmp_path / "out", **QUICK))
    assert run.outputs["n_files"] == 1
    reasons = sorted(failures_in(tmp_path / "out").values())
    assert reasons == ["duplicate object_id", "no valid position", "no valid position"]


# --- what goes wrong


@pytest.mark.parametrize("fault", ["500", "503", "429 1", "429", "cut", "page", "short", "slow"])
def test_what_passes_is_asked_for_again(server, fetched, fault):
    patience = {"timeout_seconds": 1.2} if fault == "slow" else {}
    done = fetched(n=6, fault=lambda key, n: fault if n == 0 and key.endswith("2000") else "", **patience)
    assert done.run.outputs["n_files"] == 6
    assert done.failures == {}
    assert server.n_requests == 7


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("404", "status 404"),
        ("odd", "wrong size: 50x50, asked 36x36"),
        ("blank", "off the survey"),
        ("noband", "no such band: z"),
        ("emptyband", "no such band: g is empty"),
    ],
)
def test_what_stays_wrong_is_listed_and_not_asked_for_again(server, fetched, fault, reason):
    bad = lambda key, n: fault if key.endswith("2000") else ""  # noqa: E731
    done = fetched(n=6, fault=bad)
    assert done.failures == {str(done.ids[2]): reason}
    assert done.run.outputs["n_files"] == 5
    assert server.n_requests == 6
    fetched(n=6, fault=bad)
    assert server.n_requests == 6
    healed = fetched(n=6, fault=lambda key, n: "", is_again=True)
    assert healed.failures == {}
    assert server.n_requests == 7


def test_tries_are_bounded_and_what_may_pass_is_asked_for_by_the_next_run(server, fetched):
    done = fetched(n=4, fault=lambda key, n: "500" if key.endswith("2000") else "", n_tries=3)
    assert done.failures == {str(done.ids[2]): "status 500"}
    assert server.n_requests == 3 + 3
    assert fetched(n=4, fault=lambda key, n: "").failures == {}
    assert server.n_requests == 7


def test_a_cut_is_made_good_with_what_it_brought(server, fetched):
    done = fetched(
        kind="hsc", fault=lambda key, n: ("cut", "short", "unended")[n] if key == "request" and n < 3 else ""
    )
    assert done.run.outputs["n_files"] == 36
    assert done.failures == {}
    assert server.n_requests == 4
    counts = sorted(server.asked[f"{each}_{band}"] for each in done.ids for band in ("HSC-I", "HSC-R", "HSC-G"))
    assert counts[0] == 1  # what came before the cut was not asked for again
    assert counts[-1] <= 4


def test_a_truncated_tar_is_so_called(fetched):
    done = fetched(n=2, kind="hsc", fault=lambda key, n: "short" if key == "request" else "", n_tries=1)
    assert set(done.failures.values()) == {"truncated tar"}


def test_a_tar_in_another_order_is_put_right(server, fetched):
    done = fetched(kind="hsc", fault=lambda key, n: "disorder" if key == "request" else "")
    assert done.run.outputs["n_files"] == 36
    from astropy.io import fits

    for place, object_id in enumerate(done.ids):
        (path,) = done.folder.glob(f"*/{object_id}_HSC-R.fits")
        assert fits.getheader(path, 1)["CRVAL1"] == pytest.approx(150 + place / 1000)


@pytest.mark.parametrize(
    ("fault", "reason", "is_final"),
    [
        ("absent", "no such band: HSC-R", True),
        ("odd", "wrong size: 87x87, asked 36x36", True),
        ("short", "unreadable FITS", False),
        ("elsewhere", "another place", False),
        ("mislabelled", "another band: line", False),
    ],
)
def test_a_piece_of_a_tar_fails_alone(server, fetched, fault, reason, is_final):
    done = fetched(kind="hsc", fault=lambda key, n: fault if key.endswith("408_HSC-R") else "", n_tries=2, n=4)
    assert set(done.failures) == {f"{done.ids[2]}_HSC-R"}
    assert done.failures[f"{done.ids[2]}_HSC-R"].startswith(reason)
    assert done.run.outputs["n_files"] == 11
    assert server.asked["request"] == (1 if is_final else 2)


def test_what_no_band_has_is_off_the_survey(fetched):
    done = fetched(n=3, kind="hsc", fault=lambda key, n: "absent" if "408_" in key else "")
    assert set(done.failures.values()) == {"off the survey"}
    assert len(done.failures) == 3


def test_nan_everywhere_is_off_the_survey(fetched):
    done = fetched(n=2, kind="hips", fault=lambda key, n: "blank" if key.startswith("150.001") else "")
    assert list(done.failures.values()) == ["off the survey"] * 2


def test_a_wrong_password_ends_it_at_once_and_is_said_nowhere(server, tmp_path, monkeypatch, caplog):
    secret = "wr0ng-secret"
    monkeypatch.setenv("HSC_SSP_CAS_PASSWORD", secret)
    local.write_table(tmp_path / "table.csv", 5)
    config = FetchConfig(table=tmp_path / "table.csv", output=tmp_path / "out", **QUICK)
    caplog.set_level(0)
    with pytest.raises(PermissionError, match="status 401") as caught:
        fetch(archive_at(server.url, "hsc"), config)
    assert server.n_requests == 1
    files = [each for each in (tmp_path / "out").rglob("*") if each.is_file()]
    assert secret not in str(caught.value) + caplog.text
    assert not any(secret.encode() in each.read_bytes() for each in files)
    monkeypatch.setenv("HSC_SSP_CAS_PASSWORD", local.PASSWORD)
    fetch(archive_at(server.url, "hsc"), config)
    files = [each for each in (tmp_path / "out").rglob("*") if each.is_file()]
    assert not any(local.PASSWORD.encode() in each.read_bytes() for each in files)
    assert not any(local.USER.encode() in each.read_bytes() for each in files)


def test_no_account_is_said_before_anything_is_asked(server, tmp_path, monkeypatch):
    monkeypatch.delenv("HSC_SSP_CAS_PASSWORD")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    local.write_table(tmp_path / "table.csv", 1)
    with pytest.raises(PermissionError, match=r"HSC_SSP_CAS_USER.*netrc.*keyring"):
        fetch(archive_at(server.url, "hsc"), FetchConfig(table=tmp_path / "table.csv", output=tmp_path / "out"))
    assert server.n_requests == 0
    assert not (tmp_path / "out").exists()


def test_an_archive_that_is_down_is_left_alone(server, fetched):
    with pytest.raises(ConnectionError, match=r"in a row.*the same command goes on"):
        fetched(n=60, fault=lambda key, n: "500", n_tries=1)
    assert server.n_requests < 40
    assert fetched(n=60, fault=lambda key, n: "").run.outputs["n_files"] == 60


def test_an_hour_is_not_waited_for(server, fetched):
    with pytest.raises(ConnectionError, match=r"asks to wait 3,600 s"):
        fetched(fault=lambda key, n: "429 3600")
    assert server.n_requests <= 4


def test_when_the_archive_says_wait_all_wait(server, fetched):
    begun = time.monotonic()
    fetched(n=8, fault=lambda key, n: "429 1" if n == 0 and key == "150.000000" else "")
    assert time.monotonic() - begun > 1.0


def test_a_few_requests_go_at_once(server, fetched):
    server.on_request = lambda n: time.sleep(0.02)
    fetched(n=20, n_requests=3)
    assert 2 <= server.most_at_once <= 3


@dataclass(frozen=True, kw_only=True)
class Fourth:
    """An archive of one's own."""

    base_url: str

    @property
    def traits(self):
        return Traits("fourth", 1, 10_000, "", host_of(self.base_url))

    def pieces(self, target):
        return (Piece(target, "", ".png"),)

    def ask(self, pieces):
        place = {"ra": str(pieces[0].target.ra), "dec": str(pieces[0].target.dec)}
        shape = {"hips": "x", "width": "40", "height": "40", "format": "png"}
        return Ask(f"{self.base_url}/hips2fits", place | shape)

    def unpack(self, reply, pieces):
        return whole(reply, pieces)

    def check(self, piece, path):
        check_picture(path, 40)


def test_a_fourth_archive_is_one_small_class(server, fetched):
    done = fetched(n=3, archive=Fourth(base_url=server.url), fault=lambda key, n: "500" if n == 0 else "")
    assert done.run.outputs["n_files"] == 3
    assert done.failures == {}


# --- disk, folder, kills


def test_too_little_room_is_said_before_anything_is_asked(server, fetched, monkeypatch):
    monkeypatch.setattr(stage.shutil, "disk_usage", lambda path: SimpleNamespace(free=50_000))
    with pytest.raises(ValueError, match=r"12 files of about 21 kB.*GB free; make room"):
        fetched()
    assert server.n_requests == 0


def test_another_archive_or_size_is_refused_and_strange_files_are_kept(server, fetched, tmp_path):
    fetched(n=2)
    with pytest.raises(ValueError, match="size was 36, now 40"):
        fetched(n=2, archive=archive_at(server.url, size=40))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    config = FetchConfig(table=tmp_path / "table.csv", output=tmp_path / "mine", **QUICK)
    with pytest.raises(ValueError, match="nothing that was fetched"):
        fetch(archive_at(server.url), config, replace=True)
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_a_file_that_was_placed_but_not_noted_is_not_asked_for_again(server, fetched):
    done = fetched(n=5)
    connection = sqlite3.connect(done.folder / "manifest.sqlite")
    with connection:
        connection.execute("DELETE FROM piece WHERE name IN (?, ?)", [str(each) for each in done.ids[:2]])
    connection.close()
    (path,) = done.folder.glob(f"*/{done.ids[0]}.fits")
    path.write_bytes(path.read_bytes()[:3_000])  # not what was placed: asked for again
    again = fetched(n=5)
    assert again.run.outputs["n_files"] == 5
    assert server.n_requests == 6


KILLED = """
    import sys
    from pathlib import Path
    from peculiar.io.archives.hsc import Hsc
    from peculiar.io.archives.legacysurvey import LegacySurvey
    from peculiar.stages.fetch import FetchConfig, fetch

    kind, url, table, output, rows = sys.argv[1:]
    if kind == "hsc":
        archive = Hsc(base_url=url, size_arcsec=6.0, rows=int(rows))
    else:
        archive = LegacySurvey(base_url=url, size=36)
    config = FetchConfig(table=Path(table), output=Path(output), backoff_seconds=0.01, timeout_seconds=10.0)
    fetch(archive, config)
"""
FAULTS = ("500", "cut", "page", "429", "404", "odd", "blank", "short")
LASTING = {"404", "odd", "blank"}


@pytest.mark.parametrize("kind", ["legacysurvey", pytest.param("hsc", marks=pytest.mark.slow)])
def test_three_kills_and_faults_leave_nothing_out_and_repeat_nothing_needlessly(server, tmp_path, kind):
    n, n_requests = (200, 4) if kind == "legacysurvey" else (60, 4)
    ids = local.write_table(tmp_path / "table.csv", n)
    faulty = {f"{150 + place / 1000:.6f}": FAULTS[place // 20 % len(FAULTS)] for place in range(7, n, 20)}
    if kind == "legacysurvey":
        server.fault = lambda key, n: "" if n and faulty.get(key) not in LASTING else faulty.get(key, "")
    else:
        server.fault = lambda key, n: ("cut", "500", "short")[n % 3] if key == "request" and n in (2, 7, 12) else ""
    kills = [n * share // 100 for share in (25, 50, 75)] if kind == "legacysurvey" else [4, 9, 14]
    arguments = [kind, server.url, tmp_path / "table.csv", tmp_path / "out", 9]
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(KILLED), *map(str, arguments)]
    for kill in kills:
        is_time = threading.Event()
        server.on_request = lambda n, kill=kill, is_time=is_time: is_time.set() if n >= kill else None
        with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
            assert is_time.wait(60)
            process.kill()
        assert process.returncode == -9
    server.on_request = lambda n: None
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ)
    assert done.returncode == 0, done.stderr
    outputs, failures = read_run(tmp_path / "out").outputs, failures_in(tmp_path / "out")
    assert not list((tmp_path / "out").rglob(".partial-*"))
    if kind == "legacysurvey":
        lasting = [place for place in range(7, n, 20) if FAULTS[place // 20 % len(FAULTS)] in LASTING]
        assert set(failures) == {str(ids[place]) for place in lasting}
        assert set(failures.values()) == {"status 404", "wrong size: 50x50, asked 36x36", "off the survey"}
        assert outputs["n_files"] == n - len(lasting)
        n_repeated = server.n_requests - n - (len(faulty) - len(lasting))
        assert 0 <= n_repeated <= len(kills) * n_requests
    else:
        assert failures == {}
        assert outputs["n_files"] == 3 * n
        # Of each kill at most the requests under way are asked for again, 9 rows each.
        n_repeated = sum(server.sent.values()) - 3 * n
        assert 0 <= n_repeated <= len(kills) * n_requests * 9
        assert server.n_requests <= n * 3 / 9 + len(kills) * n_requests + 3


def test_the_commands_leave_with_3_and_say_what_is_next(server, tmp_path):
    from typer.testing import CliRunner

    from peculiar.cli import app

    local.write_table(tmp_path / "table.csv", 3)
    server.fault = lambda key, n: "404" if key.endswith("2000") else ""
    command = ["fetch", "legacysurvey", tmp_path / "table.csv", tmp_path / "out", "--base-url", server.url]
    result = CliRunner().invoke(app, [*map(str, command), "--size", "36"], catch_exceptions=False)
    assert result.exit_code == 3, result.output
    assert "files 2" in result.output
    assert "peculiar ingest" in result.output
    assert "failures.csv" in result.output
