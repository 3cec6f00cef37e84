import urllib.request

import pytest

from peculiar import Atlas


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
