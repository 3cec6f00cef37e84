"""The page beside other work: served from a thread, for notebooks and scripts."""

import atexit
import threading
import time
from html import escape
from pathlib import Path

from peculiar.explorer.served import Options
from peculiar.explorer.server import prepared

STARTS_WITHIN = 30.0  # seconds
FRAME_HEIGHT = 800  # pixels of a notebook's cell


class Explored:
    """A page that is served while this process lives, or until `stop`; shown in a notebook's cell.

    Raises
    ------
    FileNotFoundError
        The atlas has no complete ranking.
    """

    def __init__(self, folder: Path, options: Options) -> None:
        self._server, listening, self.url = prepared(folder, options)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listening]}, daemon=True, name="explore"
        )
        self._thread.start()
        ends = time.monotonic() + STARTS_WITHIN
        while not self._server.started:
            if time.monotonic() > ends or not self._thread.is_alive():
                raise OSError(f"the page of {folder} did not start; see the log above")
            time.sleep(0.01)
        atexit.register(self.stop)

    def stop(self) -> None:
        """Serve no longer."""
        self._server.should_exit = True
        self._thread.join()
        atexit.unregister(self.stop)

    def __repr__(self) -> str:
        return f"the atlas is at {self.url}"

    def _repr_html_(self) -> str:
        url = escape(self.url)
        frame = f'<iframe src="{url}" title="the atlas" width="100%" height="{FRAME_HEIGHT}" style="border:0"></iframe>'
        return f'{frame}<p><a href="{url}" target="_blank" rel="noopener">open in a tab</a></p>'
