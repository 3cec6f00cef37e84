import json
import shutil
import time

import numpy as np
import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from peculiar import Atlas
from peculiar.explorer import Options, make_app
from peculiar.explorer.guard import Rate
from peculiar.explorer.served import Bytes

WRITE = {"x-peculiar": "1"}
AT = "2026-11-22T12:00:00.000+00:00"


def arrow(answer):
    assert answer.status_code == 200, answer.text
    return pa.ipc.open_stream(answer.content).read_all()


def said(object_id, label, event_id="event-00001"):
    return {
        "event_id": event_id,
        "object_id": str(object_id),
        "label": label,
        "said_at": "2026-11-22T12:00:00.000+00:00",
    }


def say(client, *events):
    answer = client.post("/api/labels", json={"said": list(events)}, headers=WRITE)
    assert answer.status_code == 200, answer.text
    return answer.json()


def opened_by(folder, **options):
    return TestClient(make_app(folder, Options(**options)), base_url="http://127.0.0.1:8460")


def test_the_atlas_introduces_itself(client, inputs):
    told = client.get("/api/atlas").json()
    assert told["n_objects"] == len(inputs.object_id)
    assert told["expert"] == "anna"
    assert told["first_shown"] == "score_anom_conditional"
    assert [each["name"] for each in told["maps"]] == ["critic"]
    assert told["classes"][0]["name"] == "merger"


def test_ids_come_as_texts_and_keep_all_digits(client, inputs):
    ids = arrow(client.get("/api/columns/object_id"))["object_id"].to_pylist()
    assert sorted(map(int, ids)) == sorted(inputs.object_id.tolist())
    found = client.get(f"/api/object/{ids[0]}").json()
    assert found["object_id"] == ids[0]


def test_a_column_is_sent_again_only_when_it_changed(client):
    first = client.get("/api/columns/magnitude")
    again = client.get("/api/columns/magnitude", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    assert not again.content
    assert arrow(first)["magnitude"].type == pa.float32()


def test_rows_answer_order_and_filter(client):
    ids = np.array(arrow(client.get("/api/columns/object_id"))["object_id"].to_pylist(), np.int64)
    rows = arrow(client.get("/api/rows", params={"by": "magnitude", "descending": False, "where": "magnitude > 20.3"}))
    magnitude = Atlas(client.folder).scores(ids[rows["row"].to_numpy()])["magnitude"]
    assert 0 < len(magnitude) < len(ids)
    assert (np.diff(magnitude) >= 0).all()
    assert magnitude.min() > 20.3


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("rows?where=magnitude+%3E", 400, "at character 12"),
        ("rows?by=source", 404, "no number 'source'"),
        ("rows?digest=another", 409, "load the page again"),
        ("columns/..%2F..%2Fetc%2Fpasswd", 404, ""),
        ("columns/nothing", 404, "no column 'nothing'"),
        ("object/12345", 404, "no object 12345"),
        ("object/9999999999999999999", 400, "whole numbers of at most 64 bits"),
        ("object/1;drop", 422, "object_id"),
        ("sheet?ids=12345", 404, "no object 12345"),
        ("sheet?ids=" + ",".join(["1"] * 1100), 400, "at most 1024 ids at once, got 1100"),
        ("sheet?ids=-5&size=2000", 422, "size"),
        ("sheet?ids=-5&stretch=nan", 422, "stretch"),
        ("image/-5?channels=xyz", 422, "channels"),
        ("find?q=nothing+here", 400, "nothing here is called"),
        ("queue?kind=interest", 404, "no interest is learnt yet"),
        ("queue?kind=other", 422, "kind"),
        ("object/-5/neighbors?features=none", 404, "no feature set 'none'; there are critic"),
        ("table?ids=-5&names=nothing", 404, "no column 'nothing'"),
        ("nothing", 404, ""),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(client, path, status, text):
    answer = client.get(f"/api/{path}")
    assert answer.status_code == status
    assert text in answer.text


def test_pictures_are_kept_for_ever_by_their_address(client):
    sheet = client.get("/api/sheet", params={"ids": "-5", "size": 16})
    assert sheet.headers["content-type"] == "image/jpeg"
    assert "immutable" in sheet.headers["cache-control"]
    image = client.get("/api/image/-5")
    assert image.content[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_table_gives_ids_as_texts_and_nan_as_null(client, inputs):
    ids = inputs.object_id[[3, 4]].tolist()
    told = client.get("/api/table", params={"ids": ",".join(map(str, ids)), "names": "source,ra,magnitude"}).json()
    assert told["columns"] == ["object_id", "source", "ra", "magnitude"]
    assert told["rows"][0][:2] == [str(ids[0]), """o'neil's "odd" one.png"""]
    assert told["rows"][1] == [str(ids[1]), inputs.names[4], None, None]


def test_neighbors_are_those_of_the_atlas(client):
    wanted = int(Atlas(client.folder).ranking().object_ids[0])
    told = client.get(f"/api/object/{wanted}/neighbors?n=5").json()
    ids = [int(each["object_id"]) for each in told]
    assert ids == Atlas(client.folder).similar(wanted, n=5)["object_id"].tolist()
    distances = [each["distance"] for each in told]
    assert distances == sorted(distances)
    typical = client.get(f"/api/object/{wanted}/neighbors?n=5&typical=true").json()
    assert {int(each["object_id"]) for each in typical} <= set(Atlas(client.folder).ranking().typical().tolist())


# Labels.


def test_a_label_is_stored_once_however_often_it_is_sent(client):
    event = said(-5, "merger")
    first, again = say(client, event), say(client, event)
    assert first == again
    assert first["refused"] == []
    assert client.get("/api/labels").json()["labels"] == [["-5", "merger"]]
    assert len(Atlas(client.folder).labels.events()) == 1


def test_the_last_word_counts_and_is_taken_back(client):
    say(client, said(-5, "merger", "event-a-1"), said(-5, "lens", "event-a-2"))
    assert client.get("/api/labels").json()["labels"] == [["-5", "lens"]]
    say(client, said(-5, None, "event-a-3"))
    assert client.get("/api/labels").json()["labels"] == []
    assert len(Atlas(client.folder).labels.events()) == 3


def test_what_cannot_be_stored_is_refused_and_the_others_are_stored(client):
    answer = say(
        client, said(-5, "no class", "event-b-1"), said(12345, "lens", "event-b-2"), said(-5, "lens", "event-b-3")
    )
    assert [each["event_id"] for each in answer["stored"]] == ["event-b-3"]
    why = {each["event_id"]: each["why"] for each in answer["refused"]}
    assert "no class" in why["event-b-1"]
    assert "no object 12345" in why["event-b-2"]


def test_classes_are_the_atlas_s_own(client):
    classes = [{"name": "ring", "color": "#ff0000", "key": "1", "description": "a ring"}]
    answer = client.post("/api/classes", json={"classes": classes}, headers=WRITE)
    assert answer.json()["classes"] == classes
    assert client.get("/api/atlas").json()["classes"] == classes
    assert say(client, said(-5, "ring"))["refused"] == []
    twice = [{**classes[0]}, {**classes[0], "key": ""}]
    assert client.post("/api/classes", json={"classes": twice}, headers=WRITE).status_code == 400


def test_queues_leave_out_what_was_labelled(client):
    top = client.get("/api/queue?kind=top&n=5").json()["ids"]
    assert [int(each) for each in top] == Atlas(client.folder).top(5)["object_id"].tolist()
    say(client, said(top[0], "merger"))
    Atlas(client.folder).labels.add("bob", [_said(top[1], "lens"), _said(top[0], "lens")])
    assert client.get("/api/queue?kind=top&n=4").json()["ids"] == top[1:]
    assert client.get("/api/queue?kind=unlabelled&n=3").json()["ids"] == top[2:]
    assert client.get("/api/queue?kind=disagreement").json()["ids"] == []  # this expert has said a word on it
    control = client.get("/api/queue?kind=control&n=64").json()["ids"]
    assert len(control) == 63
    assert control[:3] != client.get("/api/queue?kind=top&n=3").json()["ids"]


def _said(object_id, label, event_id=None):
    from peculiar.labels import Said

    return Said(event_id or f"bob-{object_id}-{label}", int(object_id), label, AT)


def test_others_disagreement_is_a_queue(client):
    labels = Atlas(client.folder).labels
    labels.add("bob", [_said(-5, "lens")])
    labels.add("eve", [_said(-5, "merger", "eve-0000001")])
    assert client.get("/api/queue?kind=disagreement").json()["ids"] == ["-5"]


def test_the_summary_counts_votes_and_agreement(client):
    ids = Atlas(client.folder).ranking().object_ids[:4].tolist()
    say(client, *(said(each, "merger", f"event-{place:05}") for place, each in enumerate(ids)))
    Atlas(client.folder).labels.add("bob", [_said(each, "merger") for each in ids[:3]] + [_said(ids[3], "normal")])
    told = client.get("/api/labels/summary").json()
    assert told["experts"] == ["anna", "bob"]
    assert told["n_votes"] == [[4, 0], [3, 1]]
    assert told["n_labelled"] == told["n_shared"] == 4
    assert told["disputed"] == [str(ids[3])]
    assert told["pairs"][0]["kappa"] == 0.0  # one of them says one thing only
    assert told["curve"]["looked"] == [1, 2, 3, 4]
    assert told["curve"]["found"] == [1, 2, 3, 3]  # the last word on the fourth is bob's


def test_blind_experts_are_told_of_others_when_their_own_word_is_in(explored, tmp_path):
    folder = shutil.copytree(explored, tmp_path / "atlas")
    atlas = Atlas(folder)
    atlas.labels.add("bob", [_said(-5, "lens")])
    atlas.gather_labels()
    with opened_by(folder, expert="anna", is_blind=True) as client:
        told = client.get("/api/object/-5").json()
        assert told["votes"] == []
        assert "label" not in told["row"]
        assert not any(each["name"].startswith("label") for each in client.get("/api/atlas").json()["columns"])
        assert client.get("/api/columns/label").status_code == 403
        assert client.get("/api/rows", params={"where": 'label == "lens"'}).status_code == 403
        assert client.get("/api/rows", params={"by": "label_probability"}).status_code == 403
        assert client.get("/api/table", params={"ids": "-5", "names": "label"}).status_code == 403
        assert client.get("/api/labels/summary").json()["experts"] == []
        say(client, said(-5, "merger"))
        assert {each["expert"]: each["label"] for each in client.get("/api/object/-5").json()["votes"]} == {
            "anna": "merger",
            "bob": "lens",
        }


def test_a_server_that_is_read_only_has_no_routes_that_write(explored):
    with opened_by(explored, expert="anna", is_read_only=True) as client:
        for path in ("labels", "classes", "learn"):
            assert client.post(f"/api/{path}", json={}, headers=WRITE).status_code in (404, 405)
        paths = client.get("/api/openapi.json").json()["paths"]
        writes = [path for path, methods in paths.items() if "post" in methods]
        assert writes == ["/api/session"]  # a token into a cookie; nothing of the atlas
    assert not (explored / "labels.sqlite").exists()


def test_votes_become_columns_at_once(client):
    assert client.post("/api/labels/gather", headers=WRITE).status_code == 400
    say(client, said(-5, "merger"))
    assert client.post("/api/labels/gather", headers=WRITE).json() == {"n_objects": 1}
    assert "label" in [each["name"] for each in client.get("/api/atlas").json()["columns"]]
    assert client.get("/api/filter", params={"where": 'label == "merger"'}).json() == {"n": 1}


@pytest.mark.parametrize("form", ["csv", "parquet", "vot"])
def test_labels_are_handed_out_as_they_are_taken_in(client, form, tmp_path):
    assert client.get("/api/labels/export", params={"form": form}).status_code == 400
    say(client, said(-5, "merger"))
    answer = client.get("/api/labels/export", params={"form": form})
    assert answer.headers["content-disposition"] == f'attachment; filename="labels.{form}"'
    path = tmp_path / f"labels.{form}"
    path.write_bytes(answer.content)
    other = Atlas(shutil.copytree(client.folder, tmp_path / "other", ignore=shutil.ignore_patterns("labels.sqlite*")))
    assert other.import_labels(path).n_added == 1
    assert other.labels.votes("anna")["object_id"].to_pylist() == [-5]


# Who may ask.


def test_only_its_own_name_is_answered(client):
    for host in ("evil.example", "127.0.0.1.evil.example:8460", "127.0.0.1:8461", ""):
        assert client.get("/api/atlas", headers={"host": host}).status_code == 421
    assert client.get("/api/atlas", headers={"host": "localhost:8460"}).status_code == 200


def test_other_sites_are_refused(client):
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9999", "https://127.0.0.1:8460.evil.example"):
        assert client.get("/api/atlas", headers={"origin": origin}).status_code == 403
    assert client.get("/api/atlas", headers={"origin": "http://127.0.0.1:8460"}).status_code == 200
    assert client.get("/api/atlas", headers={"sec-fetch-site": "cross-site"}).status_code == 403


def test_a_write_needs_its_header_and_a_body_of_some_size(client):
    body = json.dumps({"said": []})
    kind = {"content-type": "application/json"}
    assert client.post("/api/labels", content=body, headers=kind).status_code == 403
    assert client.post("/api/labels", content=body, headers={**kind, **WRITE}).status_code == 200
    assert client.post("/api/labels", content=" " * 1_000_001, headers={**kind, **WRITE}).status_code == 413
    events = [said(-5, "lens", f"event-{each:05}") for each in range(1_001)]
    assert client.post("/api/labels", json={"said": events}, headers=WRITE).status_code == 422


def test_every_answer_carries_the_policy(client):
    for path in ("/", "/api/atlas", "/nothing", "/api/nothing", "/assets/index.js"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"


def test_the_page_names_no_other_machine(client):
    page = client.get("/").text
    assert "http" not in page
    assert client.get("/assets/index.js").status_code == 200


def test_files_outside_of_the_page_are_not_to_be_had(client):
    for path in ("/../server.py", "/..%2fserver.py", "/assets/../../server.py", "/%2e%2e/server.py", "//etc/passwd"):
        assert client.get(path).status_code == 404


def test_elsewhere_nobody_is_anybody_without_a_token(explored, tmp_path):
    folder = shutil.copytree(explored, tmp_path / "atlas")
    token = Atlas(folder).labels.add_expert("carol")
    with pytest.raises(ValueError, match="every expert needs a token"):
        Options(host="0.0.0.0", expert="anna")
    app = make_app(folder, Options(host="0.0.0.0", allowed_hosts=("labels.example",)))
    with TestClient(app, base_url="http://labels.example:8460") as client:
        assert client.get("/api/atlas").status_code == 401
        assert client.get("/").status_code == 200  # which asks for the token
        assert client.get("/api/atlas", headers={"authorization": "Bearer wrong"}).status_code == 401
        bearer = {"authorization": f"Bearer {token}"}
        assert client.get("/api/atlas", headers=bearer).json()["expert"] == "carol"
        assert client.post("/api/session", json={"token": "wrong"}, headers=WRITE).status_code == 401
        kept = client.post("/api/session", json={"token": token}, headers=WRITE)
        assert "httponly" in kept.headers["set-cookie"].lower()
        assert "samesite=strict" in kept.headers["set-cookie"].lower()
        assert client.get("/api/atlas").json()["expert"] == "carol"
        Atlas(folder).labels.add_expert("carol")  # the old token has ended
        assert client.get("/api/atlas").status_code == 401


def test_a_link_with_a_token_leaves_none_in_the_address(explored, tmp_path):
    folder = shutil.copytree(explored, tmp_path / "atlas")
    token = Atlas(folder).labels.add_expert("carol")
    with opened_by(folder) as client:
        answer = client.get("/", params={"token": token}, follow_redirects=False)
        assert answer.status_code == 303
        assert answer.headers["location"] == "/"
        assert client.get("/api/atlas").json()["expert"] == "carol"


def test_a_client_asks_so_often_and_no_more():
    now = [0.0]
    rate = Rate(per_second=10, burst=5, clock=lambda: now[0])
    assert [rate.allows("a") for _ in range(7)] == [True] * 5 + [False] * 2
    assert rate.allows("b")
    now[0] = 0.35
    assert [rate.allows("a") for _ in range(4)] == [True] * 3 + [False]


def test_sheets_are_kept_up_to_some_bytes():
    kept, made = Bytes(10), []

    def make(size):
        made.append(size)
        return b"x" * size

    for key, size in (("a", 4), ("b", 4), ("a", 4), ("c", 4), ("a", 4), ("b", 4)):
        assert len(kept.of((key,), lambda size=size: make(size))) == size
    assert len(made) == 4  # b was used longest ago when c came
    assert kept.held <= 10


def test_learning_goes_on_beside_the_server(client):
    ids = Atlas(client.folder).ranking().object_ids[:20].tolist()
    assert client.post("/api/learn", headers=WRITE).status_code == 400  # no labels yet
    say(
        client,
        *(said(each, "merger" if place % 2 else "normal", f"event-{place:05}") for place, each in enumerate(ids)),
    )
    assert client.post("/api/learn", headers=WRITE).json()["state"] == "running"
    states = []
    for _ in range(600):
        states.append(client.get("/api/learn").json())
        if states[-1]["state"] != "running":
            break
        time.sleep(0.1)
    assert states[-1]["state"] == "failed"  # this atlas has no self-supervised features
    assert "self-supervised" in states[-1]["said"]
