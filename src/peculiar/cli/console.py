"""What people see: the console, progress bars, cells of tables."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peculiar.atlas import Atlas


def escaped(text: object) -> str:
    """Text in which no bracket is markup."""
    from rich.markup import escape

    return escape(str(text))


def console(*, is_error: bool = True) -> Any:
    """Standard error for what is going on, standard output for what was asked for."""
    from rich.console import Console

    return Console(stderr=is_error, highlight=False, soft_wrap=True)


class LogHandler(logging.Handler):
    """Log lines on standard error, above the progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        shown = _bars.console if _bars is not None else console()
        shown.print(escaped(self.format(record)), soft_wrap=True)


_bars: Any = None


@contextmanager
def track(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar with rate and time left; plain lines where there is no terminal."""
    global _bars
    from rich import progress

    class Rate(progress.ProgressColumn):
        """Objects or steps a second."""

        def render(self, task: Any) -> str:
            return f"{task.speed:,.1f}/s" if task.speed else ""

    shown = console()
    columns = [
        progress.TextColumn("{task.description:<34}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        Rate(),
        progress.TimeRemainingColumn(elapsed_when_finished=True),
    ]
    with progress.Progress(*columns, console=shown, disable=not shown.is_terminal, speed_estimate_period=60) as bars:
        _bars = bars
        task = bars.add_task(description, total=total)
        lines = None if shown.is_terminal else _Lines(description, total)
        try:
            yield lambda n: bars.advance(task, n) if lines is None else lines.advance(n)
        finally:
            _bars = None


class _Lines:
    """Progress for a log file: a line every so often."""

    EVERY = 20.0  # seconds

    def __init__(self, description: str, total: int | None) -> None:
        import time

        self.description, self.total, self.done, self.clock = description, total, 0, time.monotonic
        self.begun = self.last = self.clock()
        self.first: int | None = None

    def advance(self, n: int) -> None:
        """Count, and print if it is time."""
        self.done += n
        if self.first is None:
            self.first = self.done  # what an earlier run did is no part of the rate
        now = self.clock()
        if now - self.last >= self.EVERY:
            self.last = now
            rate = (self.done - self.first) / (now - self.begun)
            left = f", {(self.total - self.done) / rate:,.0f} s left" if self.total and rate else ""
            of = f" of {self.total:,}" if self.total else ""
            console().print(f"{self.description}: {self.done:,}{of}, {rate:,.1f}/s{left}")


def cell(value: Any) -> str:
    """A value as a table shows it."""
    if not isinstance(value, float):
        return escaped(value)
    return f"{value:.4f}" if value == 0 or 0.1 <= abs(value) < 1e9 else f"{value:.4g}"


def print_top(atlas: "Atlas", n: int, by: str, ranking: str = "main", where: str = "") -> None:
    """The ranked table."""
    import numpy as np
    from rich.table import Table

    found = atlas.top(n, by=by, where=where, ranking=ranking)
    opened = atlas.ranking(ranking)
    weights = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in opened.weights.items())
    only = f" where {escaped(where)}" if where else ""
    shown = Table(title=f"{len(found)} largest {by} of {len(opened):,}{only}; {weights}", title_justify="left")
    has_positions = np.isfinite(np.ma.filled(found["ra"], np.nan)).any()
    place = ["ra", "dec"] if has_positions else ["source"]
    columns = dict.fromkeys(["rank", "object_id", by, "score_anom_sigma", "score_disc_sigma", *place])
    for name in columns:
        is_id = name == "object_id"
        shown.add_column(name, justify="left" if name == "source" else "right", overflow="fold", no_wrap=is_id)
    for row in found:
        shown.add_row(*(cell(row[name]) for name in columns))
    console(is_error=False).print(shown)


def print_table(found: Any, title: str) -> None:
    """A small table of numbers, an astropy one, under a title."""
    print_rows(found.colnames, found, title)


def print_rows(names: Sequence[object], rows: Iterable[Iterable[Any]], title: str) -> None:
    """Rows of values under their names and a title."""
    from rich.table import Table

    shown = Table(title=title, title_justify="left")
    for name in names:
        shown.add_column(str(name), justify="right", no_wrap=True)
    for row in rows:
        shown.add_row(*(cell(value) for value in row))
    console(is_error=False).print(shown)
