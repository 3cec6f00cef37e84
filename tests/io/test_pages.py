from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest

from peculiar.io.pages import Facts, Picture, Table, Text, write_page

BIG = 43158859342174406
VOID = {"meta", "img"}


class Page(HTMLParser):
    """Elements, their attributes and text; fails where a tag is not closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def write(path, *sections, **options):
    write_page(path, "Report <b>&", sections, **options)
    return Page(path.read_text(encoding="utf-8"))


def test_everything_is_escaped(tmp_path):
    evil = '<script>alert("1")</script>&'
    page = write(
        tmp_path / "report.html",
        Text(heading=evil, body=evil),
        Facts(items={evil: evil}),
        Table(columns=[evil], rows=[[evil]], caption=evil),
        Picture(path=tmp_path / "a.png", alt=evil, caption=evil),
        subtitle=evil,
        provenance={evil: evil},
    )
    assert not page.all("script")
    assert page.texts.count(evil) == 11
    assert page.all("img")[0]["alt"] == evil


def test_pictures_are_linked_relative_to_the_page(tmp_path):
    picture = tmp_path / "figures" / "top 25 #1.png"
    (tmp_path / "release").mkdir()
    page = write(tmp_path / "release" / "report.html", Picture(path=picture, alt="Top"))
    source = page.all("img")[0]["src"]
    assert source == "../figures/top%2025%20%231.png"
    assert (tmp_path / "release" / unquote(source)).resolve() == picture.resolve()


def test_nothing_is_loaded_from_elsewhere(tmp_path):
    write(tmp_path / "r.html", Text(body="a"), Picture(path=tmp_path / "a.png", alt="a"))
    text = (tmp_path / "r.html").read_text()
    assert "http" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert "prefers-color-scheme: dark" in text


def test_ids_are_shown_in_full_and_numbers_aligned(tmp_path):
    rows = [[BIG, 4.5, "merger", None], [-7, 3.25, "ring", 1.0]]
    page = write(tmp_path / "r.html", Table(columns=["object_id", "score", "class", "recall"], rows=rows))
    assert str(BIG) in page.texts
    assert {"4.50", "3.25", "none", "1"} <= set(page.texts)
    assert [attributes.get("class") for attributes in page.all("th")] == ["number", "number", None, "number"]


def test_text_that_reads_as_numbers_is_aligned_and_kept(tmp_path):
    page = write(tmp_path / "r.html", Table(columns=["ra"], rows=[["150.11620"], ["-0.00001"]]))
    assert page.all("td") == [{"class": "number"}] * 2
    assert "150.11620" in page.texts


def test_facts_have_thousands_separators(tmp_path):
    page = write(tmp_path / "r.html", Facts(items={"objects": 942781, "AUROC": 0.87312, "done": True}))
    assert {"942,781", "0.8731", "yes"} <= set(page.texts)


def test_contents_point_at_sections(tmp_path):
    page = write(tmp_path / "r.html", *(Text(heading=f"Part {k}", body="text") for k in range(3)))
    targets = [attributes["href"].removeprefix("#") for attributes in page.all("a")]
    assert targets == [attributes["id"] for attributes in page.all("section")]


def test_paragraphs_are_split_at_empty_lines(tmp_path):
    page = write(tmp_path / "r.html", Text(body="one\n\ntwo\nstill two\n\n"))
    assert len(page.all("p")) == 2


def test_a_row_of_another_length_is_refused_and_no_file_is_left(tmp_path):
    with pytest.raises(ValueError, match="a row needs 2 cells"):
        write(tmp_path / "r.html", Table(columns=["a", "b"], rows=[[1]]))
    assert not list(tmp_path.iterdir())


def test_a_report_without_sections_is_a_page(tmp_path):
    assert len(write(tmp_path / "r.html").all("main")) == 1


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), np.float64("-inf")])
def test_what_is_no_number_is_none(tmp_path, value):
    write_page(tmp_path / "p.html", "t", [Table(columns=["a", "b"], rows=[["x", value]])])
    assert '<span class="none">none</span>' in (tmp_path / "p.html").read_text()
