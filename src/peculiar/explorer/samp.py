"""Talk with TOPCAT, Aladin and DS9 on this machine, by SAMP: the selection goes out, rows and places come in."""

import logging
import shutil
import tempfile
import threading
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import uuid4

import numpy as np
from fastapi import APIRouter, HTTPException, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from peculiar import __version__
from peculiar.explorer.exporting import export
from peculiar.explorer.opened import Opened, Order
from peculiar.explorer.served import ERRORS, InServed, Who

log = logging.getLogger(__name__)
HEARD = ("table.select.rowList", "table.highlight.row", "coord.pointAt.sky")
KEPT_NEWS, KEPT_TABLES = 100, 20
MOST_ROWS = 250_000  # of a table that is sent: a VOTable
router = APIRouter(prefix="/api", responses=ERRORS)


@dataclass(frozen=True)
class News:
    """What another program said: these objects are selected, this one is looked at, or this place (ICRS, degrees)."""

    number: int
    kind: Literal["selected", "highlighted", "place"]
    ids: list[str] = field(default_factory=list)
    ra: float | None = None
    dec: float | None = None


class Samp:
    """A client of the hub that runs on this machine; connected when it is first asked to be.

    Raises
    ------
    ImportError
        pyvo is not installed.
    OSError
        No hub runs.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._client: Any = None
        self._news: deque[News] = deque(maxlen=KEPT_NEWS)
        self._tables: dict[str, np.ndarray] = {}
        self._n, self._lock = 0, threading.Lock()
        self._home: Path | None = None  # of the tables that went out

    def connect(self) -> Any:
        """The client, registered with the hub."""
        try:
            from pyvo.samp import SAMPHubError, SAMPIntegratedClient
        except ImportError as error:
            raise ImportError('SAMP needs pyvo; install it by: pip install "peculiar[samp]"') from error
        with self._lock:
            if self._client is not None:
                with suppress(OSError):  # the hub has ended; there may be another
                    self._client.ping()
                    return self._client
            told = {"samp.name": "peculiar", "samp.description.text": self.name, "peculiar.version": __version__}
            client = SAMPIntegratedClient(name="peculiar", description=self.name, metadata=told, addr="127.0.0.1")
            try:
                client.connect()
            except SAMPHubError as error:
                raise OSError("no SAMP hub runs on this machine; start TOPCAT or Aladin, then try again") from error
            for mtype in HEARD:
                client.bind_receive_message(mtype, self._hear)
            self._client = client
            return client

    def send(self, opened: Opened, order: Order) -> tuple[int, int]:
        """Offer the objects of an order to all programs as a VOTable; how many objects, and to how many programs."""
        client = self.connect()
        table_id = f"peculiar-{uuid4().hex[:12]}"
        with self._lock:
            self._home = self._home or Path(tempfile.mkdtemp(prefix="peculiar-samp-"))
        path = self._home / f"{table_id}.vot"
        object_ids = opened.object_ids[opened.rows(order)]
        if len(object_ids) > MOST_ROWS:
            raise ValueError(f"at most {MOST_ROWS} objects go out by SAMP, got {len(object_ids)}; select fewer")
        export(opened, order, "vot", path)
        with self._lock:
            self._tables[table_id] = object_ids
            for old in list(self._tables)[:-KEPT_TABLES]:
                del self._tables[old]
                (self._home / f"{old}.vot").unlink(missing_ok=True)
        receivers = client.get_subscribed_clients("table.load.votable")
        params = {"table-id": table_id, "url": path.as_uri(), "name": f"{self.name}, {len(object_ids)} objects"}
        client.enotify_all("table.load.votable", **params)
        return len(object_ids), len(receivers)

    def point(self, ra: float, dec: float) -> int:
        """Ask all programs to look at a place, ICRS degrees; how many there are."""
        client = self.connect()
        receivers = client.get_subscribed_clients("coord.pointAt.sky")
        client.enotify_all("coord.pointAt.sky", ra=str(ra), dec=str(dec))
        return len(receivers)

    def news(self, after: int) -> list[News]:
        """What was heard after the news of this number."""
        with self._lock:
            return [each for each in self._news if each.number > after]

    def close(self) -> None:
        """Leave the hub, and take the tables away."""
        if self._client is not None:
            with suppress(OSError):  # the hub has ended
                self._client.disconnect()
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)

    def _hear(self, private_key: str, sender: str, msg_id: str | None, mtype: str, params: Any, extra: Any) -> None:
        if self._client is None or sender == self._client.get_public_id():
            return
        try:
            self._understand(mtype, params)
            status = "samp.ok"
        except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
            log.warning("%s of another program is not understood: %s", mtype, error)
            status = "samp.error"
        if msg_id is not None:
            self._client.ereply(msg_id, status, result={} if status == "samp.ok" else None, error=None)

    def _understand(self, mtype: str, params: dict[str, Any]) -> None:
        if mtype == "coord.pointAt.sky":
            ra, dec = float(params["ra"]), float(params["dec"])
            if not (np.isfinite(ra) and -90 <= dec <= 90):
                raise ValueError(f"no place: {ra}, {dec}")
            self._tell("place", ra=ra % 360, dec=dec)
            return
        with self._lock:
            object_ids = self._tables.get(params["table-id"])
        if object_ids is None:
            return  # a table of somebody else
        rows = params["row-list"] if mtype == "table.select.rowList" else [params["row"]]
        numbers = np.array([int(each) for each in rows], np.int64)
        if len(numbers) and (numbers.min() < 0 or numbers.max() >= len(object_ids)):
            raise IndexError(f"rows are from 0 to {len(object_ids) - 1}")
        ids = [str(each) for each in object_ids[numbers].tolist()]
        self._tell("selected" if mtype == "table.select.rowList" else "highlighted", ids=ids)

    def _tell(self, kind: Literal["selected", "highlighted", "place"], **told: Any) -> None:
        with self._lock:
            self._n += 1
            self._news.append(News(self._n, kind, **told))


class AskedOrder(BaseModel):
    """Which objects go out."""

    model_config = ConfigDict(extra="forbid")
    by: Annotated[str, Field(max_length=200)] = ""
    descending: bool = True
    where: Annotated[str, Field(max_length=32_000)] = ""
    sample: Annotated[int, Field(ge=0, le=2**31)] = 0
    seed: Annotated[int, Field(ge=0, le=2**53)] = 0


def _samp(request: Request) -> Samp:
    samp: Samp = request.app.state.samp
    try:
        samp.connect()
    except (ImportError, OSError) as error:
        raise HTTPException(409, str(error)) from error
    return samp


@router.post("/samp")
def send(request: Request, served: InServed, who: Who, given: AskedOrder) -> dict[str, int]:
    """Send the objects of an order to the programs on this machine."""
    n_objects, n_programs = _samp(request).send(served.opened, Order(**given.model_dump()))
    return {"n_objects": n_objects, "n_programs": n_programs}


@router.get("/samp")
def heard(request: Request, who: Who, after: Annotated[int, Query(ge=0, le=2**53)] = 0) -> list[dict[str, Any]]:
    """What the programs on this machine have said since."""
    return [asdict(each) for each in _samp(request).news(after)]
