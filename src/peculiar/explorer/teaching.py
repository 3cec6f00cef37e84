"""Interest learnt anew from the labels, beside the server: a process of its own, whose progress is asked for."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Learning:
    """Where the learning stands; `done` of `total` objects, 0 of 0 where that is not known."""

    state: Literal["idle", "running", "done", "failed"] = "idle"
    step: str = ""
    done: int = 0
    total: int = 0
    said: str = ""


class Teacher:
    """Runs `learn` of an atlas in the background, one at a time; what is asked for meanwhile is done after it."""

    def __init__(self, folder: Path, when_done: Callable[[], None]) -> None:
        self.folder, self.when_done = folder, when_done
        self.learning = Learning()
        self._lock = threading.Lock()
        self._is_asked_again = False
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> Learning:
        """Begin, or begin again when the present one is done."""
        with self._lock:
            if self.learning.state == "running":
                self._is_asked_again = True
            else:
                self.learning = Learning("running", "reading labels")
                threading.Thread(target=self._work, daemon=True, name="learn").start()
            return self.learning

    def stop(self) -> None:
        """End the process; the same call begins anew another time."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.terminate()

    def _work(self) -> None:
        while True:
            ended = self._taught()
            with self._lock:
                if not self._is_asked_again:
                    self.learning = ended
                    return
                self._is_asked_again = False

    def _taught(self) -> Learning:
        """Learn once; what is no progress among the lines that come is what went wrong."""
        command = [sys.executable, "-m", "peculiar.explorer.teaching", str(self.folder.resolve())]
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        said = "it was ended"
        with subprocess.Popen(command, text=True, **pipes) as self._process:
            for line in self._process.stdout or ():
                if line.startswith("{"):
                    self.learning = replace(self.learning, **json.loads(line))
                elif line.strip():
                    said = line.strip()
        if self._process.returncode:
            return replace(self.learning, state="failed", said=said)
        self.when_done()
        return replace(self.learning, state="done")


def _teach(folder: Path) -> None:
    """Gather labels into columns, learn interest, and say on standard output how far it is, a JSON line each."""
    from peculiar.atlas import Atlas

    def say(**fields: str | int) -> None:
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()

    @contextmanager
    def track(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
        done = 0
        say(step=description, done=0, total=total or 0)

        def advance(n: int) -> None:
            nonlocal done
            done += n
            say(done=done)

        yield advance

    atlas = Atlas(folder, track=track)
    atlas.gather_labels()
    run = atlas.learn()
    say(said=f"learnt from {run.outputs['n_labelled']} objects, {run.outputs['n_found']} of interest")


if __name__ == "__main__":
    _teach(Path(sys.argv[1]))
