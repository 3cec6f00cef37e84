import gc
import shutil
import time
from urllib.parse import urlparse
from urllib.request import url2pathname

import numpy as np
import pytest
from astropy.io.votable import parse_single_table
from starlette.testclient import TestClient

from peculiar import Atlas
from peculiar.explorer import Options, make_app

samp = pytest.importorskip("pyvo.samp")
WRITE = {"x-peculiar": "1"}
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # sockets of pyvo's own


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub of its own, which the clients of this test find by its lock file."""
    samp.conf.use_internet = False
    lock = tmp_path / "samp-lock"
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{lock.as_uri()}")
    running = samp.SAMPHubServer(web_profile=False, mode="multiple", addr="127.0.0.1", lockfile=str(lock))
    running.start()
    yield running
    running.stop()
    gc.collect()  # pyvo leaves sockets open: here that is no error


class Program:
    """Another program: keeps what it is sent."""

    def __init__(self):
        self.client = samp.SAMPIntegratedClient(name="another", addr="127.0.0.1")
        self.client.connect()
        self.tables = []
        self.client.bind_receive_notification("table.load.votable", self.receive)

    def receive(self, private_key, sender, mtype, params, extra):
        self.tables.append(params)


@pytest.fixture
def program(hub):
    opened = Program()
    yield opened
    opened.client.disconnect()


def until(true):
    for _ in range(200):
        if found := true():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come")


def test_the_selection_goes_out_as_a_table_and_rows_come_back(client, program):
    where = "magnitude < 20.3"
    told = client.post("/api/samp", json={"where": where, "by": "magnitude"}, headers=WRITE).json()
    wanted = Atlas(client.folder).select(where, by="magnitude")
    assert told == {"n_objects": len(wanted), "n_programs": 1}
    sent = until(lambda: program.tables and program.tables[0])
    table = parse_single_table(url2pathname(urlparse(sent["url"]).path)).to_table()
    assert table["object_id"].tolist() == wanted.tolist()
    rows = {"table-id": sent["table-id"], "row-list": ["2", "0"]}
    program.client.enotify_all("table.select.rowList", **rows)
    news = until(lambda: client.get("/api/samp").json())
    assert news[0]["kind"] == "selected"
    assert news[0]["ids"] == [str(wanted[2]), str(wanted[0])]
    program.client.enotify_all("table.highlight.row", **{"table-id": sent["table-id"], "row": "1"})
    later = until(lambda: client.get("/api/samp", params={"after": news[0]["number"]}).json())
    assert [each["kind"] for each in later] == ["highlighted"]
    assert later[0]["ids"] == [str(wanted[1])]


def test_a_place_comes_in(client, program):
    client.get("/api/samp")  # it listens from now on
    program.client.enotify_all("coord.pointAt.sky", ra="150.07", dec="1.93")
    news = until(lambda: client.get("/api/samp").json())
    assert (news[0]["kind"], news[0]["ra"], news[0]["dec"]) == ("place", 150.07, 1.93)


@pytest.mark.filterwarnings("ignore")
def test_what_makes_no_sense_is_passed_over(client, program):
    client.post("/api/samp", json={}, headers=WRITE)
    table_id = until(lambda: program.tables and program.tables[0])["table-id"]
    for mtype, params in (
        ("table.select.rowList", {"table-id": "somebody else's", "row-list": ["1"]}),
        ("table.select.rowList", {"table-id": table_id, "row-list": ["100000"]}),
        ("table.select.rowList", {"table-id": table_id, "row-list": ["-1"]}),
        ("table.highlight.row", {"table-id": table_id, "row": "../../etc/passwd"}),
        ("coord.pointAt.sky", {"ra": "nan", "dec": "0"}),
        ("coord.pointAt.sky", {"ra": "10"}),
    ):
        program.client.enotify_all(mtype, **params)
    program.client.enotify_all("coord.pointAt.sky", ra="10", dec="20")
    news = until(lambda: client.get("/api/samp").json())
    assert [each["kind"] for each in news] == ["place"]
    assert np.isclose(news[0]["ra"], 10)


def test_without_a_hub_it_says_what_to_do(client, tmp_path, monkeypatch):
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{(tmp_path / 'none').as_uri()}")
    answer = client.post("/api/samp", json={}, headers=WRITE)
    assert answer.status_code == 409
    assert "start TOPCAT or Aladin" in answer.json()["detail"]


def test_a_hub_that_ended_is_not_the_last(client, hub, program, tmp_path):
    assert client.get("/api/samp").json() == []
    program.client.disconnect()
    hub.stop()
    assert client.get("/api/samp").status_code == 409
    again = samp.SAMPHubServer(web_profile=False, mode="multiple", addr="127.0.0.1", lockfile=hub._lockfile)
    again.start()
    try:
        assert client.get("/api/samp").status_code == 200
    finally:
        again.stop()


@pytest.mark.parametrize("options", [{"is_read_only": True, "expert": "anna"}, {"host": "0.0.0.0"}, {}])
def test_other_people_s_programs_are_not_spoken_to(explored, tmp_path, options):
    folder = shutil.copytree(explored, tmp_path / "atlas")
    token = {"authorization": f"Bearer {Atlas(folder).labels.add_expert('carol')}"}
    with TestClient(make_app(folder, Options(**options)), base_url="http://127.0.0.1:8460") as client:
        host = {"host": f"{options.get('host', '127.0.0.1')}:8460"}
        assert client.get("/api/samp", headers={**token, **host}).status_code == 404
