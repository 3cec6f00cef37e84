"""Somebody means harm: what a catalog, a page elsewhere, a stranger, and an expert with a token of their own can do."""

import asyncio
import json
import logging
import re
import shutil
import socket
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from starlette.testclient import TestClient

from peculiar import Atlas
from peculiar.explorer import Explored, Options, make_app
from peculiar.explorer import guard as guarding
from peculiar.explorer import server as serving
from peculiar.explorer.guard import Guard, Rules
from peculiar.labels import Said

WRITE = {"x-peculiar": "1"}
SENT = {**WRITE, "content-type": "application/json"}
AT = "2026-11-22T12:00:00.000+00:00"
HOSTILE = [
    *("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)", "{{7*7}}${7*7}"),
    *("' OR 1=1 --", "'; DROP TABLE event; --", 'x" UNION SELECT digest FROM expert --', "a) or true or (b"),
    *("../../../etc/passwd", "..\\..\\secret", "%2e%2e%2fsecret", "file:///etc/passwd"),
    *('=cmd|"/c calc"!A1', "@SUM(1)", "a\r\nset-cookie: owned=1", "\x1b[31mred\x07\x01", "\u202egnp.exe"),
    *("😀👩\u200d🚀", "\u2028\ufeff", "__proto__", "constructor", "null", "NaN", '"', "\\", "x" * 10_000),
]
ASKED = {
    **{"rows": ("by", "where", "digest", "seed"), "table": ("ids", "names"), "find": ("q",), "filter": ("where",)},
    **{"sheet": ("ids", "part", "channels"), "queue": ("kind", "by", "where"), "export": ("form", "by", "where")},
    "object/-5/neighbors": ("features", "n"),
}
NETWORKS = {"width": 2, "batch_size": 8, "save_every": 2}


def served_by(folder, **options):
    return TestClient(make_app(folder, Options(**options)), base_url="http://127.0.0.1:8460")


def event(object_id, label, event_id, at=AT):
    return {"event_id": event_id, "object_id": str(object_id), "label": label, "said_at": at}


def is_safe(answer):
    """Whether an answer is of a kind that no browser runs, under headers that no text of a catalog got into."""
    kind = answer.headers.get("content-type", "")
    assert re.match("application/(json|vnd[.]apache[.]arrow[.]stream)|image/(jpeg|png)", kind), (answer.url, kind)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "set-cookie" not in answer.headers
    assert all(text.isascii() and text.isprintable() for pair in answer.headers.multi_items() for text in pair)
    return answer


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, made) -> Path:
    """An atlas whose file names, columns and values are what an attacker would choose."""
    home = tmp_path_factory.mktemp("hostile")
    ids = made.ids(64)
    texts = [HOSTILE[place % len(HOSTILE)] for place in range(len(ids))]
    names = [f"{place}{text.replace('/', '-')[:60]}.png" for place, text in enumerate(texts)]
    made.write(home / "cutouts", made.images(len(ids)), names)
    columns = {"file": names, "object_id": ids, "ra": 150 + np.arange(64) / 100, "dec": 2 - np.arange(64) / 100}
    for place, text in enumerate(HOSTILE):
        columns[text] = [*texts[place:], *texts[:place]] if place % 2 else np.arange(64) + 0.5
    pyarrow.parquet.write_table(pa.table(columns), home / "objects.parquet")
    atlas = Atlas(home / "atlas")
    atlas.ingest(home / "cutouts", catalog=home / "objects.parquet")
    atlas.train_gan(n_latent=4, n_steps=4, learning_rate=0.02, **NETWORKS)
    atlas.train_encoder(n_steps=4, **NETWORKS)
    atlas.score(n_latent_steps=3, latent_rate=0.1)
    atlas.rank(n_reconstructions=3)
    return home / "atlas"


@pytest.fixture
def token_of(explored, tmp_path):
    """A copy of the atlas, and the tokens of anna, bob and carol."""
    folder = shutil.copytree(explored, tmp_path / "atlas")
    labels = Atlas(folder).labels
    return folder, {name: {"authorization": f"Bearer {labels.add_expert(name)}"} for name in ("anna", "bob", "carol")}


# What a catalog holds.


def test_hostile_columns_and_values_come_as_data(hostile):
    with served_by(hostile, expert="anna") as client:
        told = is_safe(client.get("/api/atlas")).json()
        kinds = {each["name"]: each["kind"] for each in told["columns"]}
        theirs = [name for name in kinds if name in HOSTILE or name.replace("_", ".") in HOSTILE]
        assert len(theirs) > 20
        ids = is_safe(client.get("/api/queue", params={"n": 64})).json()["ids"]
        for name in theirs:
            table = is_safe(client.get("/api/table", params={"ids": ids[0], "names": name.split(",")[0]}))
            assert table.status_code == 200
            quoted = f"`{name}`"
            assert is_safe(client.get("/api/filter", params={"where": f"missing({quoted})"})).status_code in (200, 400)
            is_safe(client.get(f"/api/columns/{quote(name, safe='')}"))
            is_safe(client.get("/api/rows", params={"by": name}))
        for object_id in ids:
            row = is_safe(client.get(f"/api/object/{object_id}")).json()
            assert row["source"].endswith(".png")
        is_safe(client.get("/api/sheet", params={"ids": ",".join(ids), "size": 8}))


@pytest.mark.filterwarnings("ignore::astropy.io.votable.exceptions.W03")  # such names are no identifiers
def test_a_selection_of_hostile_objects_is_a_file_of_a_plain_name(hostile):
    with served_by(hostile, expert="anna") as client:
        for form in ("csv", "parquet", "vot", "reg", "zip", "py"):
            answer = client.get("/api/export", params={"form": form})
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-disposition"] == f'attachment; filename="selection.{form}"'
            assert "html" not in answer.headers["content-type"]
            assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_asked_for_is_never_told_as_a_page(client, text):
    asked = [
        *(f"/api/{where}/{quote(text, safe='')}" for where in ("columns", "object", "image", "cutout", "nothing")),
        f"/api/object/{quote(text, safe='')}/neighbors",
    ]
    for path in asked:
        assert is_safe(client.get(path)).status_code in (400, 404, 422)
    for route, names in ASKED.items():
        for name in names:
            answer = is_safe(client.get(f"/api/{route}", params={"ids": "-5", name: text}))
            assert answer.status_code in (200, 400, 404, 409, 422), (route, name, answer.text)
    body = {"said": [event(-5, text, "event-00001"), event(-5, "lens", "event-00002", text), event(text, "lens", text)]}
    assert is_safe(client.post("/api/labels", json=body, headers=WRITE)).status_code == 422
    for said in body["said"][:2]:
        answer = is_safe(client.post("/api/labels", json={"said": [said]}, headers=WRITE))
        assert answer.status_code == 422 or answer.json()["refused"]


def test_no_route_opens_a_file_that_a_client_names(client, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("root:x:0:0")
    opened, is_on = [], True

    def audit(what, arguments):
        if is_on and what == "open":
            opened.append(str(arguments[0]))

    sys.addaudithook(audit)
    for text in ("../secret", str(secret), f"file://{secret}", "..%2fsecret", "....//secret"):
        for route in ("rows", "table", "sheet", "find", "filter", "queue", "object/-5/neighbors", "export"):
            for name in ("ids", "names", "by", "where", "q", "digest", "features", "form"):
                client.get(f"/api/{route}", params={"ids": "-5", "q": "-5", name: text})
        for start in ("/api/columns/", "/api/image/", "/api/cutout/", "/assets/", "/", "/assets/..%2f..%2f", "//"):
            for asked in (text, quote(text, safe=""), quote(quote(text, safe=""), safe="")):
                assert "root:x" not in client.get(start + asked).text
    is_on = False
    assert not [each for each in opened if "secret" in each]


def test_what_is_typed_never_becomes_sql_of_lance(client, monkeypatch):
    import lance

    filters = []
    for name in ("to_table", "scanner", "count_rows", "to_batches"):
        original = getattr(lance.LanceDataset, name)

        def spied(self, *arguments, _original=original, **options):
            filters.append(options.get("filter") or "")
            return _original(self, *arguments, **options)

        monkeypatch.setattr(lance.LanceDataset, name, spied)
    for text in (*HOSTILE, 'source == "a" or true', "magnitude > 20 or 1 = 1"):
        for path, name in (("rows", "where"), ("filter", "where"), ("find", "q"), ("queue", "where"), ("rows", "by")):
            client.get(f"/api/{path}", params={name: text[:4_000]})
        client.get("/api/table", params={"ids": "-5", "names": text[:9_000]})
    client.get("/api/object/-5")
    client.get("/api/sheet", params={"ids": "-5"})
    assert any(filters)
    for each in filters:
        assert re.fullmatch(r"(object_id|IN|in|or|=|[-() ,0-9]|CAST|cast|AS|as|BIGINT|bigint|')*", each), each


def test_names_of_classes_and_experts_are_texts_and_no_more(client):
    for text in HOSTILE:
        answer = client.post("/api/classes", json={"classes": [{"name": text, "color": "#ff0000"}]}, headers=WRITE)
        is_safe(answer)
        if answer.status_code == 200:
            kept = answer.json()["classes"][0]["name"]
            told = client.post("/api/labels", json={"said": [event(-5, kept, f"event-{hash(kept)}")]}, headers=WRITE)
            assert told.json()["refused"] == []
        else:
            assert answer.status_code in (400, 422)
    labels = Atlas(client.folder).labels
    for text in HOSTILE:
        try:
            labels.add(text, [Said(f"other-{hash(text)}", -5, "lens", AT)])
        except ValueError as error:
            assert "printable" in str(error)  # noqa: PT017
    assert len(labels.experts()) > 5
    is_safe(client.get("/api/labels/summary"))
    is_safe(client.get("/api/object/-5"))


# Pages elsewhere.


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example:8460", "127.0.0.1.evil.example:8460", "localhost.evil.example:8460", "127.0.0.1:8460.evil"),
        *("127.0.0.1", "localhost", "localhost.:8460", "0.0.0.0:8460", "[::ffff:127.0.0.1]:8460", "2130706433:8460"),
        *("127.1:8460", "user@127.0.0.1:8460", "127.0.0.1:8460@evil.example", "127.0.0.1:08460", "127.0.0.1:8460,evil"),
        *("xn--localhost-.example:8460", "127.0.0.1:8460 ", "", "\u217cocalhost:8460".encode().decode("latin-1")),
    ],
)
def test_a_name_that_was_made_to_point_here_is_not_answered(client, host):
    answer = client.get("/api/atlas", headers={"host": host.encode("latin-1")})
    assert answer.status_code == 421
    assert client.post("/api/labels", json={"said": []}, headers={**WRITE, "host": host.encode("latin-1")}).is_error
    is_safe(answer)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://localhost:8460"},  # another name of this server is another site to a browser
        *({"origin": f"http://127.0.0.1:8460{end}"} for end in (".evil.example", "@evil.example", "/", " ", "\t")),
        *({"origin": each} for each in ("null", "", "file://", "http://127.0.0.1", "https://127.0.0.1", "*")),
        *({"sec-fetch-site": each} for each in ("cross-site", "same-site", "else")),
    ],
)
def test_other_sites_cannot_write_or_read(client, headers):
    for answer in (
        client.post("/api/labels", json={"said": [event(-5, "lens", "event-00001")]}, headers={**WRITE, **headers}),
        client.get("/api/labels", headers=headers),
        client.options("/api/labels", headers={**headers, "access-control-request-method": "POST"}),
    ):
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert not (client.folder / "labels.sqlite").exists()


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain;json", ""]
)
def test_a_form_of_another_site_is_no_label(client, kind):
    body = json.dumps({"said": [event(-5, "lens", "event-00001")]})
    headers = {"content-type": kind} if kind else {}
    assert client.post("/api/labels", content=body, headers=headers).status_code == 403
    assert client.post("/api/labels", content=body, headers={**headers, **WRITE}).status_code == 422
    assert not (client.folder / "labels.sqlite").exists()


# Bodies, numbers, methods.


def test_a_body_without_a_length_is_bounded_too(client):
    def parts():
        for _ in range(20):
            yield b" " * 100_000

    answer = is_safe(client.post("/api/labels", content=parts(), headers=SENT))
    assert answer.status_code == 413
    assert "send less at once" in answer.json()["detail"]
    for length in ("1000001", "9" * 30, "-1", "+5", "0x10", "1e3", "²".encode("latin-1"), "5, 6", ""):
        answer = client.post("/api/labels", content=b'{"said":[]}', headers={**SENT, "content-length": length})
        assert answer.status_code == 413, length


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(guarding, "BODY_WITHIN", 0.05)
    told = []

    async def receive():
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message):
        told.append(message)

    async def never(scope, receive, send):
        raise AssertionError

    headers = [(b"host", b"here"), (b"x-peculiar", b"1")]
    scope = {"type": "http", "path": "/api/labels", "method": "POST", "query_string": b"", "headers": headers}
    rules = Rules(hosts=frozenset({"here"}), expert_of=lambda token: None, expert="anna", cookie="peculiar")
    asyncio.run(Guard(never, rules)(scope, receive, send))
    assert told[0]["status"] == 408


def test_who_goes_away_in_the_middle_of_a_body_stores_nothing():
    async def receive():
        return {"type": "http.disconnect"}

    async def never(*arguments):
        raise AssertionError

    headers = [(b"host", b"here"), (b"x-peculiar", b"1")]
    scope = {"type": "http", "path": "/api/labels", "method": "POST", "query_string": b"", "headers": headers}
    rules = Rules(hosts=frozenset({"here"}), expert_of=lambda token: None, expert="anna", cookie="peculiar")
    asyncio.run(Guard(never, rules)(scope, receive, never))


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b'"a"', b"[]", b"NaN", b"{", b"\xff\xfe", b'{"said":"\xff"}', b'{"said":NaN}'),
        *(
            b'{"said":1e400}',
            b'{"said":[NaN]}',
            b'{"said":[],"said":[1]}',
            b'{"said":[],"x":1}',
            b'{"\\ud800":1}',
            b'{"said":-0}',
        ),
        *(b"[" * 300_000, b'{"said":' + b"[" * 90_000 + b"]" * 90_000 + b"}", b'{"a":' * 90_000 + b"1" + b"}" * 90_000),
        b"{" + b",".join(b'"k%d":1' % each for each in range(60_000)) + b"}",
        *(json.dumps({"said": [event(-5, "\ud800", "event-00001")]}).encode(), b"\x00", b"\x1f\x8b\x08" + b"\x00" * 99),
        json.dumps({"said": [event("9" * 20, "lens", "event-00001")]}).encode(),
        json.dumps({"said": [{**event(-5, "lens", "event-00001"), "expert": "bob"}]}).encode(),
        json.dumps({"said": [{**event(-5, "lens", "event-00001"), "object_id": 1e400}]}).encode(),
    ],
    ids=range(25),
)
def test_a_body_that_is_no_label_is_refused_in_a_sentence(client, body):
    answer = is_safe(client.post("/api/labels", content=body, headers=SENT))
    assert answer.status_code in (400, 422)
    assert len(answer.content) < 10_000
    assert not (client.folder / "labels.sqlite").exists()


def test_a_packed_body_is_not_unpacked(client):
    import gzip

    bomb = gzip.compress(b" " * 50_000_000)
    answer = client.post("/api/labels", content=bomb, headers={**SENT, "content-encoding": "gzip"})
    assert answer.status_code in (400, 422)


def test_the_same_event_twice_in_one_request_is_stored_once(client):
    said = [event(-5, "lens", "event-00001"), event(-5, "merger", "event-00001"), event(-5, "normal", "event-00002")]
    told = client.post("/api/labels", json={"said": said}, headers=WRITE).json()
    assert [each["event_id"] for each in told["stored"]] == ["event-00001", "event-00002"]
    assert [each["event_id"] for each in told["refused"]] == ["event-00001"]


NUMBERS = ["1e400", "-1e400", "NaN", "inf", "-0", str(2**63), "-" + "9" * 400, "٣", "1_000", ""]


@pytest.mark.parametrize("number", NUMBERS, ids=range(len(NUMBERS)))
def test_numbers_out_of_bounds_are_refused_or_are_numbers(client, number):
    for route, name in (
        *(("rows", "sample"), ("rows", "seed"), ("queue", "n"), ("sheet", "size"), ("sheet", "columns")),
        *(("sheet", "stretch"), ("object/-5/neighbors", "n"), ("sheet", "ids"), ("table", "ids"), ("find", "q")),
    ):
        answer = client.get(f"/api/{route}", params={"ids": "-5", name: number})
        assert is_safe(answer).status_code in (200, 400, 404, 422), (route, name)
    for where in (f"ra > {number}", f"inside(ra, dec, {number}, 1, 2, 3, 4, 5)", f"object_id in ({number}, 1)"):
        assert is_safe(client.get("/api/filter", params={"where": where})).status_code in (200, 400)


@pytest.mark.parametrize(
    "where", ["1+" * 1_900 + "1 > 0", "0<" * 1_900 + "1", "inside(1, 2, 0, 0, 5, 5, 9, 0)"], ids=range(3)
)
def test_long_filters_are_understood_or_refused(client, where):
    assert is_safe(client.get("/api/filter", params={"where": where})).status_code in (200, 400)


def test_a_parameter_given_twice_is_one(client):
    answer = client.get("/api/sheet?ids=-5&ids=12345&size=16&size=99999")
    assert answer.status_code == 422
    assert client.get("/api/object/-5/neighbors?n=5&n=3").json()[3:] == []


def test_methods_that_are_not_there_are_refused_with_those_that_are(client):
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND"):
        for path, there in (("/api/labels", "GET, POST"), ("/api/atlas", "GET"), ("/api/session", "POST")):
            answer = client.request(method, path, headers=WRITE)
            assert (answer.status_code, answer.headers["allow"]) == (405, there)
        assert client.request(method, "/api/labels").status_code == 403  # without the header, as every write
    assert client.head("/").status_code == 200
    assert client.head("/api/atlas").status_code == 405
    assert client.get("/index.html").status_code == 404
    assert client.get("/api/atlas", headers={"x-http-method-override": "DELETE"}).status_code == 200


def test_cookies_of_other_servers_of_this_machine_do_no_harm(token_of):
    folder, bearers = token_of
    token = bearers["anna"]["authorization"].removeprefix("Bearer ")
    with served_by(folder) as client:
        for others in ('a{,b=1; "[]=;;; $Version=2', 'username="2|1:0|10:1|x\\"y"', "_xsrf=2|a|b; =; ==; a,b:c=d"):
            answer = client.get("/api/atlas", headers={"cookie": f"{others}; peculiar-8460={token}".encode()})
            assert answer.json()["expert"] == "anna", others


# Strangers.


def test_tokens_cannot_be_tried_for_long_and_experts_are_not_kept_out_meanwhile(token_of):
    folder, bearers = token_of
    with served_by(folder) as client:
        tried = [client.get("/api/atlas", headers={"authorization": f"Bearer {n}"}).status_code for n in range(300)]
        assert set(tried) == {401, 429}
        assert tried.count(401) < 260
        sign_in = client.post("/api/session", json={"token": "wrong"}, headers=WRITE)
        assert sign_in.status_code == 429  # they count together
        assert client.get("/api/atlas", headers=bearers["anna"]).status_code == 200
        time.sleep(0.3)
        assert client.get("/api/atlas", headers={"authorization": "Bearer x"}).status_code == 401  # and it recovers


def test_one_expert_s_flood_leaves_the_others_alone(token_of, monkeypatch):
    monkeypatch.setattr(serving, "Rules", partial(Rules, per_second=5.0, burst=50.0))
    folder, bearers = token_of
    with served_by(folder) as client:
        answers = [client.get("/api/learn", headers=bearers["anna"]).status_code for _ in range(100)]
        assert set(answers) == {200, 429}
        assert client.get("/api/learn", headers=bearers["bob"]).status_code == 200
        time.sleep(0.4)
        assert client.get("/api/learn", headers=bearers["anna"]).status_code == 200


def test_tokens_are_told_to_nobody(token_of, caplog, capfd):
    folder, bearers = token_of
    token = bearers["anna"]["authorization"].removeprefix("Bearer ")
    wrong = "Wr0ngT0ken" * 3
    caplog.set_level(logging.DEBUG)
    page = Explored(folder, Options(port=0))
    said = []
    try:
        port = int(page.url.rsplit(":", 1)[1].strip("/"))
        for each in (token, wrong):
            asked = [
                (f"GET /?token={each}", ""),
                (f"GET /api/atlas?digest={each}x", f"authorization: Bearer {each}\r\n"),
                ("GET /api/nothing", f"cookie: peculiar-{port}={each}\r\n"),
                ("GET /api/columns/" + "x" * 80_000, f"cookie: peculiar-{port}={each}\r\n"),
            ]
            said += [raw(port, f"{line} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{more}\r\n") for line, more in asked]
            for body in ({"token": each * 9}, {"token": each, "other": 1}, {"token": [each]}, {"token": wrong}):
                sent = json.dumps(body)
                head = f"host: 127.0.0.1:{port}\r\nx-peculiar: 1\r\ncontent-type: application/json\r\n"
                said.append(raw(port, f"POST /api/session HTTP/1.1\r\n{head}content-length: {len(sent)}\r\n\r\n{sent}"))
    finally:
        page.stop()
    assert sum(b" 401 " in each for each in said) >= 3
    assert sum(b" 422 " in each for each in said) >= 6
    given = [each for each in said if token.encode() in each]
    assert all(b"303" in each and b"HttpOnly" in each for each in given)  # the cookie that was asked for, and no other
    assert len(given) == 1
    assert not [each for each in said if wrong.encode() in each]
    out = capfd.readouterr()
    for text in (caplog.text, out.out, out.err, *(path.read_text("latin-1") for path in folder.glob("labels.sqlite*"))):
        assert token not in text
        assert wrong not in text


def raw(port, text, wait=5.0):
    """What a server answers to bytes that no client would send."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=wait)) as connection:
        connection.sendall(text.encode("latin-1") if isinstance(text, str) else text)
        found = b""
        try:
            while part := connection.recv(65_536):
                found += part
                connection.settimeout(0.1)
        except (TimeoutError, ConnectionResetError):
            pass
        return found


def answer_of(connection):
    """The next answer of a connection that stays open."""
    found = b""
    while not found.endswith(b"}"):
        part = connection.recv(65_536)
        assert part, found
        found += part
    return found


@pytest.fixture(scope="module")
def port(explored, tmp_path_factory):
    """A real server, on which "anna" labels, and its port."""
    folder = shutil.copytree(explored, tmp_path_factory.mktemp("raw") / "atlas")
    page = Explored(folder, Options(port=0, expert="anna"))
    yield int(page.url.rsplit(":", 1)[1].strip("/"))
    page.stop()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("GET /api/atlas HTTP/1.1\r\nhost: {host}\r\nhost: evil.example\r\n\r\n", 400),
        ("GET /api/atlas HTTP/1.1\r\nhost: evil.example\r\n\r\n", 421),
        ("GET http://{host}/api/atlas HTTP/1.1\r\nhost: evil.example\r\n\r\n", 421),
        ("GET /api/atlas HTTP/1.1\r\n\r\n", 400),
        ("GET /api/atlas HTTP/1.0\r\n\r\n", 421),
        ("GET /api/atlas HTTP/1.1\r\nhost : {host}\r\n\r\n", 400),
        ("GET /api/atlas HTTP/1.1\r\nhost: {host}\r\n x: folded\r\nx\x00y: 1\r\n\r\n", 400),
        ("POST /api/labels HTTP/1.1\r\nhost: {host}\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n12345", 400),
        ("POST /api/labels HTTP/1.1\r\nhost: {host}\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        ("GET /api/atlas HTTP/1.1\r\nhost: {host}\r\n" + "x: y\r\n" * 20_000 + "\r\n", 431),
        ("GET /api/atlas HTTP/1.1\r\nhost: {host}\r\ncookie: " + "a=b;" * 40_000 + "\r\n\r\n", 431),
        ("GET /api/find?q=" + "x" * 41_000 + " HTTP/1.1\r\nhost: {host}\r\n\r\n", 414),
        ("GET /" + "x" * 200_000 + " HTTP/1.1\r\nhost: {host}\r\n\r\n", 404),
        ("GET /api/atlas HTTP/1.1\r\nhost: {host}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", 200),
        ("GET //evil.example/%2e%2e HTTP/1.1\r\nhost: {host}\r\n\r\n", 404),
        ("GET /assets/..%2f..%2fserver.py HTTP/1.1\r\nhost: {host}\r\n\r\n", 404),
        ("GET /assets/../../server.py HTTP/1.1\r\nhost: {host}\r\n\r\n", 404),
        ("GET /assets/%00 HTTP/1.1\r\nhost: {host}\r\n\r\n", 404),
        ("GET /assets HTTP/1.1\r\nhost: {host}\r\n\r\n", 404),
        ("GET /%0d%0aset-cookie:x=1 HTTP/1.1\r\nhost: {host}\r\n\r\n", 404),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ],
    ids=range(21),
)
def test_bytes_that_no_client_sends_are_refused_and_the_server_lives(port, text, status):
    answer = raw(port, text.replace("{host}", f"127.0.0.1:{port}"))
    if answer:  # where more was sent than was read, the system may take the answer with the connection
        is_cut = len(text) > 65_536 and b" 400 " in answer  # it came in parts, and the whole was not waited for
        assert int(answer.split()[1]) == status or is_cut, answer[:300]
        assert b"set-cookie" not in answer.lower()
        assert b"text/html" not in answer
    assert b" 200 " in raw(port, f"GET /api/atlas HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n")


def test_a_body_in_parts_beyond_the_limit_is_answered_clearly(port):
    part = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    head = f"POST /api/labels HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nx-peculiar: 1\r\ntransfer-encoding: chunked\r\n\r\n"
    assert b" 413 " in raw(port, head.encode() + part * 70 + b"0\r\n\r\n")


def test_an_address_of_many_ids_may_come_in_parts(port):
    ids = ",".join(["-43158859342174406"] * 1_024)
    line = f"GET /api/sheet?size=4&ids={ids} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n".encode()
    assert len(line) > 19_000
    with closing(socket.create_connection(("127.0.0.1", port), timeout=5)) as connection:
        for part in (line[:9_000], line[9_000:18_000], line[18_000:]):
            connection.sendall(part)
            time.sleep(0.05)
        assert b" 200 " in connection.recv(100)


def test_slow_heads_are_not_waited_for(explored, tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "HEAD_WITHIN", 0.3)
    page = Explored(shutil.copytree(explored, tmp_path / "atlas"), Options(port=0, expert="anna"))
    try:
        port = int(page.url.rsplit(":", 1)[1].strip("/"))
        whole = f"GET /api/learn HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n".encode()
        for before in (b"", whole):  # at once, and on a connection that was of use
            with closing(socket.create_connection(("127.0.0.1", port), timeout=5)) as slow:
                if before:
                    slow.sendall(before)
                    assert b" 200 " in answer_of(slow)
                began, is_ended = time.monotonic(), False
                while not is_ended and time.monotonic() < began + 5:
                    try:
                        slow.sendall(b"GET /api/atlas HTTP/1.1\r\n" if time.monotonic() == began else b"x")
                        slow.settimeout(0.05)
                        is_ended = slow.recv(1) == b""
                    except TimeoutError:
                        pass
                    except OSError:
                        is_ended = True
                assert is_ended
                assert time.monotonic() < began + 3
        with closing(socket.create_connection(("127.0.0.1", port), timeout=5)) as patient:  # not so who is answered
            for _ in range(3):
                patient.sendall(whole)
                assert b" 200 " in answer_of(patient)
                time.sleep(0.4)
    finally:
        page.stop()


def test_more_connections_than_there_may_be_are_sent_away(explored, tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "MOST_CONNECTIONS", 8)
    page = Explored(shutil.copytree(explored, tmp_path / "atlas"), Options(port=0, expert="anna"))
    port = int(page.url.rsplit(":", 1)[1].strip("/"))
    whole = f"GET /api/learn HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n"
    try:
        held = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(8)]
        time.sleep(0.1)
        assert b" 503 " in raw(port, whole)
        for each in held:
            each.close()
        time.sleep(0.3)
        assert b" 200 " in raw(port, whole)
    finally:
        page.stop()


# Experts.


def test_nobody_writes_as_another(token_of):
    folder, bearers = token_of
    carol = bearers["carol"]["authorization"].removeprefix("Bearer ")
    with served_by(folder) as client:
        spoofs = {"x-expert": "carol", "x-forwarded-user": "carol", "remote-user": "carol", "cookie": "expert=carol"}
        answer = client.post(
            "/api/labels?expert=carol",
            json={"said": [event(-5, "lens", "event-00001")]},
            headers={**WRITE, **spoofs, **bearers["anna"]},
        )
        assert answer.json()["refused"] == []
        both = {**bearers["anna"], "cookie": f"peculiar-8460={carol}"}  # the header counts, whole
        client.post("/api/labels", json={"said": [event(-5, "merger", "event-00002")]}, headers={**WRITE, **both})
        assert Atlas(folder).labels.events()["expert"].to_pylist() == ["anna", "anna"]
        assert client.get("/api/labels?expert=carol", headers=bearers["anna"]).json()["expert"] == "anna"
        for body in ({"expert": "carol", "said": []}, {"said": [{**event(-5, "lens", "event-00003"), "expert": "c"}]}):
            assert client.post("/api/labels", json=body, headers={**WRITE, **bearers["anna"]}).status_code == 422


def test_another_s_event_can_be_neither_changed_nor_taken_nor_read(token_of):
    folder, bearers = token_of
    with served_by(folder, is_blind=True) as client:
        client.post(
            "/api/labels", json={"said": [event(-5, "lens", "event-of-bob")]}, headers={**WRITE, **bearers["bob"]}
        )
        for label in ("lens", "merger", None):
            told = client.post(
                "/api/labels", json={"said": [event(-5, label, "event-of-bob")]}, headers={**WRITE, **bearers["anna"]}
            ).json()
            assert told["stored"] == []
            assert "another expert" in told["refused"][0]["why"]
            assert not re.search("bob said|'lens'|merger", told["refused"][0]["why"])
        assert Atlas(folder).labels.votes()["expert"].to_pylist() == ["bob"]


def test_blind_no_route_tells_others_votes(token_of):
    folder, bearers = token_of
    atlas = Atlas(folder)
    ids = atlas.ranking().object_ids[:6].tolist()

    def answers(client):
        """All that anna can ask, and is told."""
        columns = [each["name"] for each in client.get("/api/atlas", headers=bearers["anna"]).json()["columns"]]
        late = ("label", "label-second", "label_probability", "label_n_votes", "label_agreement-second", "label_x")
        paths = [
            *("atlas", "labels", "labels/summary", "learn", "classes", "rows", "openapi.json"),
            *(f"columns/{name}" for name in (*columns, *late)),
            *(f"rows?by={name}" for name in late),
            *(f"{route}?where=missing({name})" for name in late for route in ("rows", "filter", "queue")),
            *(f"{route}?where=missing(`{name}`) or true" for name in late for route in ("rows", "filter", "queue")),
            *(f"queue?by={name}" for name in late),
            *(f"table?ids={ids[0]}&names={name}" for name in (*columns, *late)),
            *(f"export?form=csv&where={where}" for where in ("", "missing(label)")),
            *(f"queue?kind={kind}" for kind in ("top", "control", "disagreement", "interest")),
            *(f"object/{each}" for each in ids),
            *(f"object/{each}/neighbors" for each in ids),
        ]
        told = {path: client.get(f"/api/{path}", headers=bearers["anna"]) for path in paths}
        return {path: (answer.status_code, answer.content) for path, answer in told.items()}

    def vote(labels):
        for name in ("bob", "carol"):
            said = [Said(f"{name}-{place}-{labels[0]}", each, labels[place % 2 if name == "bob" else 0], AT)
                    for place, each in enumerate(ids)]  # fmt: skip
            atlas.labels.add(name, said)
        for name in ("main", "second"):
            atlas.gather_labels(name=name, replace=True)

    vote(["lens", "merger"])
    with served_by(folder, is_blind=True) as client:
        before = answers(client)
    vote(["normal", "artefact"])
    with served_by(folder, is_blind=True) as client:
        after = answers(client)
        assert [path for path in before if before[path] != after[path]] == []
        assert before["queue?kind=disagreement"][0] == 403
        assert before["columns/label-second"][0] in (403, 404)
        assert not [path for path, (_, content) in after.items() if b"bob" in content or b"carol" in content]


def test_two_servers_of_one_atlas_tell_the_same_labels(token_of):
    folder, bearers = token_of
    with served_by(folder) as one, served_by(folder) as other:
        for place, client in enumerate((one, other, one, other)):
            label = ("lens", "merger")[place % 2]
            body = {"said": [event(-5, label, f"event-0000{place}")]}
            told = client.post("/api/labels", json=body, headers={**WRITE, **bearers["anna"]}).json()
            again = (one, other)[place % 2 == 0]
            assert again.post("/api/labels", json=body, headers={**WRITE, **bearers["anna"]}).json() == told
            for each in (one, other):
                assert each.get("/api/labels", headers=bearers["anna"]).json()["labels"] == [["-5", label]]
        Atlas(folder).labels.add_expert("anna")  # her old token ends on both
        assert {each.get("/api/labels", headers=bearers["anna"]).status_code for each in (one, other)} == {401}


def test_when_labels_cannot_be_written_it_is_said_and_where_they_are_is_not(client):
    (client.folder / "labels.sqlite").write_bytes(b"no database, whatever it was" * 100)
    with TestClient(client.app, base_url="http://127.0.0.1:8460", raise_server_exceptions=False) as patient:
        answer = patient.post("/api/labels", json={"said": [event(-5, "lens", "event-00001")]}, headers=WRITE)
    assert is_safe(answer).status_code == 503
    assert str(client.folder) not in answer.text


def test_a_fault_of_ours_is_told_without_its_reason(client, monkeypatch):
    def fails(self, *arguments):
        raise ArithmeticError("secret-of-ours")

    monkeypatch.setattr(type(client.app.state.served.evidence), "of", fails)
    with TestClient(client.app, base_url="http://127.0.0.1:8460", raise_server_exceptions=False) as patient:
        answer = patient.get("/api/object/-5")
    assert is_safe(answer).status_code == 500
    assert "secret-of-ours" not in answer.text


def test_long_lists_of_ids_do_not_fill_the_store_of_sheets(client):
    kept = client.app.state.served.sheets._kept
    for place in range(20):
        asked = f"-5,{' ' * (place + 30_000)}-5"
        assert client.get("/api/sheet", params={"ids": asked, "size": 8}).status_code in (200, 414)
    assert sum(len(repr(key)) for key in kept) < 20_000
