import socket
import urllib.request
from urllib.parse import urlsplit

import pytest

from peculiar import Atlas
from peculiar.explorer import Options
from peculiar.explorer.server import prepared


def test_a_notebook_has_the_page_in_a_cell_and_ends_it(explored):
    page = Atlas(explored).explore(expert="anna", is_read_only=True)
    try:
        assert f'<iframe src="{page.url}"' in page._repr_html_()
        with urllib.request.urlopen(page.url) as answer:
            assert b"<title>peculiar</title>" in answer.read()
        with urllib.request.urlopen(f"{page.url}api/atlas") as answer:
            assert b'"expert":"anna"' in answer.read()
    finally:
        page.stop()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(page.url)


def test_an_atlas_without_a_ranking_says_what_to_do(ingested):
    with pytest.raises(FileNotFoundError, match='run "peculiar run'):
        Atlas(ingested).explore()


def test_who_is_told_of_the_address_is_not_turned_away_before_it_is_served(explored):
    _, listening, url = prepared(explored, Options(port=0))
    with listening, socket.create_connection(("127.0.0.1", urlsplit(url).port), timeout=5):
        pass
