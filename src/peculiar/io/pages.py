"""Write the report: one HTML file with its own style, that needs no network, no font and no script."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from peculiar.io.plain import placed

Cell = str | int | float | bool | None
LONG_CELL = 60  # characters; longer text is broken into lines


@dataclass(frozen=True, kw_only=True)
class Text:
    """Paragraphs, separated by empty lines."""

    body: str
    heading: str = ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Key numbers, each with what it is; a value that is text is shown as it is."""

    items: Mapping[str, Cell]
    heading: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under column names. Integers are shown in full (they may be ids), floats to some four digits.

    A column of text that reads as numbers stands right-aligned too, so coordinates can be given as text.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    heading: str = ""
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image file, shown from where it lies; `alt` says what is in it to those who cannot see it."""

    path: Path
    alt: str
    heading: str = ""
    caption: str = ""


Section = Text | Facts | Table | Picture


def write_page(
    path: Path,
    title: str,
    sections: Sequence[Section],
    *,
    subtitle: str = "",
    provenance: Mapping[str, Cell] | None = None,
    links: Mapping[str, str] | None = None,
    links_label: str = "Elsewhere",
) -> None:
    """Write a report as one HTML file.

    Parameters
    ----------
    path
        The file. Pictures are linked relative to its folder, so the two can be moved together.
    title, subtitle
        What the page is, and a line on it.
    sections
        In the order to read. A section without a heading continues the one before.
    provenance
        Versions, digests, weights, seeds: a block at the end.
    links, links_label
        Addresses to go to from the page's head, by what they are called, and what they are together.

    Notes
    -----
    All text is escaped. Light or dark follows the reader's system; wide tables scroll in their own frame.
    """
    body = "\n".join(_section(number, section, path.parent) for number, section in enumerate(sections))
    headed = [(number, section.heading) for number, section in enumerate(sections) if section.heading]
    contents = "".join(f'<a href="#section-{number}">{escape(heading)}</a>' for number, heading in headed)
    parts = [
        f"<header><h1>{escape(title)}</h1>",
        f"<p>{escape(subtitle)}</p>" if subtitle else "",
        f'<nav aria-label="Contents">{contents}</nav>' if len(headed) > 2 else "",
        _elsewhere(links_label, links) if links else "",
        f"</header>\n<main>\n{body}\n</main>",
        f"<footer><h2>Provenance</h2>{_pairs(provenance)}</footer>" if provenance else "",
    ]
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"{''.join(parts)}\n</body>\n</html>\n"
    )
    with placed(path) as part:
        part.write_text(page, encoding="utf-8")


def _elsewhere(label: str, links: Mapping[str, str]) -> str:
    anchors = "".join(f'<a href="{escape(address)}">{escape(name)}</a>' for name, address in links.items())
    return f'<nav aria-label="{escape(label)}">{anchors}</nav>'


def _section(number: int, section: Section, folder: Path) -> str:
    heading = f"<h2>{escape(section.heading)}</h2>" if section.heading else ""
    match section:
        case Text():
            inner = "".join(f"<p>{escape(part.strip())}</p>" for part in section.body.split("\n\n") if part.strip())
        case Facts():
            items = section.items.items()
            inner = "".join(f"<div><dd>{_shown(value)}</dd><dt>{escape(name)}</dt></div>" for name, value in items)
            inner = f'<dl class="facts">{inner}</dl>'
        case Table():
            inner = _table(section)
        case Picture():
            inner = _picture(section, folder)
    return f'<section id="section-{number}">{heading}{inner}</section>'


def _table(table: Table) -> str:
    for row in table.rows:
        if len(row) != len(table.columns):
            raise ValueError(f"a row needs {len(table.columns)} cells ({', '.join(table.columns)}), got {len(row)}")
    columns = [[row[k] for row in table.rows] for k in range(len(table.columns))]
    kinds = [_kind(cells) for cells in columns]
    decimals = [_decimals(cells) for cells in columns]
    head = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(table.columns, kinds, strict=True)
    )
    rows = [
        "".join(f"<td{kinds[k]}>{_shown(cell, in_full=True, decimals=decimals[k])}</td>" for k, cell in enumerate(row))
        for row in table.rows
    ]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    # A frame that scrolls must take the keyboard's focus, or only a mouse can scroll it.
    label = escape(table.heading or table.caption or "Table")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table>{caption}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _picture(picture: Picture, folder: Path) -> str:
    relative = Path(os.path.relpath(picture.path.absolute(), folder.absolute())).as_posix()
    source = escape(quote(relative))
    caption = f"<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else ""
    image = f'<img src="{source}" alt="{escape(picture.alt)}" loading="lazy">'
    return f'<figure><a href="{source}">{image}</a>{caption}</figure>'


def _pairs(items: Mapping[str, Cell]) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{_shown(value, in_full=True)}</dd>" for name, value in items.items())
    return f'<dl class="pairs">{rows}</dl>'


def _is_numeric(cells: Sequence[Cell]) -> bool:
    """Say whether a column holds numbers, or text that reads as numbers, and nothing else but gaps."""
    present = [cell for cell in cells if cell is not None]
    return bool(present) and all(not isinstance(cell, bool) and _NUMBER.fullmatch(str(cell)) for cell in present)


def _kind(cells: Sequence[Cell]) -> str:
    """The class of a column: numbers stand on the right, sentences are broken into lines."""
    if _is_numeric(cells):
        return ' class="number"'
    return ' class="long"' if any(isinstance(cell, str) and len(cell) > LONG_CELL for cell in cells) else ""


def _decimals(cells: Sequence[Cell]) -> int | None:
    """Decimals that give a column's floats four digits, one number for all; None where that would be long."""
    sizes = [abs(cell) for cell in cells if isinstance(cell, float) and math.isfinite(cell) and cell]
    if not sizes or max(sizes) >= 1e6 or min(sizes) < 1e-4:
        return None
    texts = [f"{size:.4g}" for size in sizes]
    return min(4, max(len(text.partition(".")[2]) for text in texts))


def _shown(cell: Cell, *, in_full: bool = False, decimals: int | None = None) -> str:
    """Return a value as text: integers in full or with separators, other numbers to four digits or as told."""
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return '<span class="none">none</span>'
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return str(cell) if in_full else f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:.4g}" if decimals is None else f"{cell:.{decimals}f}"
    return escape(cell)


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|nan|[+-]?inf")
_STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --quiet: #5b6475; --paper: #fbfaf7; --card: #ffffff;
  --line: #dcdad3; --accent: #0b5c8f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e6ec; --quiet: #9aa4b5; --paper: #11151c; --card: #191f29;
  --line: #2d3644; --accent: #7cc0ea; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 2.5rem clamp(1rem, 4vw, 3rem) 3rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font: 600 clamp(1.7rem, 4vw, 2.5rem)/1.15 Charter, "Iowan Old Style", Georgia, "DejaVu Serif", serif; margin: 0; }
h2 { font: 600 1.35rem/1.3 Charter, "Iowan Old Style", Georgia, "DejaVu Serif", serif; margin: 0 0 .7rem; }
header { border-bottom: 1px solid var(--line); padding-bottom: 1.3rem; margin-bottom: 2rem; }
header p { color: var(--quiet); margin: .5rem 0 0; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.3rem; margin-top: 1rem; font-size: .92rem; }
a { color: var(--accent); text-underline-offset: .2em; }
section { margin: 0 0 2.4rem; scroll-margin-top: 1rem; }
section:not(:has(h2)) { margin-top: -1.2rem; }
p { max-width: 46rem; margin: 0 0 .8rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .8rem; margin: 0; }
.facts div { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem; }
.facts dd { margin: 0; font-size: 1.55rem; line-height: 1.25; font-weight: 600; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere; }
.facts dt { color: var(--quiet); font-size: .88rem; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { caption-side: bottom; text-align: left; color: var(--quiet); padding: .6rem .9rem; font-size: .88rem; }
th, td { padding: .42rem .9rem; text-align: left; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--quiet); font-weight: 600; }
tbody tr:last-child td { border-bottom: 0; }
.number { text-align: right; }
.long { white-space: normal; min-width: 20rem; }
.none { color: var(--quiet); }
figure { margin: 0; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto; background: #fff;
  border: 1px solid var(--line); border-radius: 8px; }
figcaption { color: var(--quiet); font-size: .9rem; max-width: 52rem; margin-top: .6rem; }
footer { border-top: 1px solid var(--line); padding-top: 1.5rem; font-size: .88rem; }
footer h2 { font-size: 1.1rem; }
.pairs { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .25rem 1.5rem; margin: 0; }
.pairs dt { color: var(--quiet); overflow-wrap: anywhere; }
.pairs dd { margin: 0; overflow-wrap: anywhere; font-size: .84rem;
  font-family: ui-monospace, "DejaVu Sans Mono", monospace; }
@media (max-width: 34rem) { .pairs { grid-template-columns: 1fr; gap: 0; } .pairs dd { margin-bottom: .6rem; } }
@media print { body { max-width: none; padding: 0; } section { break-inside: avoid; } }
"""
