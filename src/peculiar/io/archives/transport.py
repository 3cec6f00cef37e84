"""HTTP with manners: few requests at a time, bounded patience, and waiting when an archive says so."""

import logging
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

    from peculiar.io.archives.archive import Ask

AGENT = "peculiar (galaxy anomalies; https://pypi.org/project/peculiar)"
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 507, 520, 522, 524})  # may be well the next time
MAX_WAIT = 600.0  # s: longer than this is not waited for
DEADLINE = 20  # timeouts that a whole reply may take, so that one byte a minute does not hold a place for ever
BLOCK = 2**16
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a request ended: `reason` is empty where all came. `has_body`: there is something in the file."""

    reason: str = ""
    is_final: bool = False
    has_body: bool = False
    retry_after: float = 0.0


class Stopped(Exception):
    """Work was called off: an error elsewhere, or the user."""


class Pace:
    """When requests may go out: what one thread is told by the archive, all keep to."""

    def __init__(self, backoff_seconds: float) -> None:
        self.backoff_seconds = backoff_seconds
        self._stop = threading.Event()
        self._not_before = 0.0
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Call off what is going on and to come."""
        self._stop.set()

    @property
    def is_stopped(self) -> bool:
        """Whether work was called off."""
        return self._stop.is_set()

    def hold(self, seconds: float) -> None:
        """Let no request go out for so long."""
        with self._lock:
            self._not_before = max(self._not_before, time.monotonic() + min(seconds, MAX_WAIT))

    def wait(self) -> None:
        """Wait until a request may go out."""
        while (left := self._not_before - time.monotonic()) > 0:
            self.sleep(left)
        self.sleep(0)

    def back_off(self, n_failures: int) -> None:
        """Wait the longer the more often it failed: doubling, half of it at random."""
        self.sleep(min(self.backoff_seconds * 2 ** (n_failures - 1), MAX_WAIT) * random.uniform(0.5, 1.0))

    def sleep(self, seconds: float) -> None:
        """Wait, but not when work is called off."""
        if self._stop.wait(seconds):
            raise Stopped


@contextmanager
def connected(timeout_seconds: float, n_requests: int, credentials: tuple[str, str] | None) -> "Iterator[httpx.Client]":
    """A client for `n_requests` at a time; it follows redirects only where it sends no password."""
    import httpx

    with httpx.Client(
        timeout=httpx.Timeout(timeout_seconds),
        limits=httpx.Limits(max_connections=n_requests, max_keepalive_connections=n_requests),
        auth=None if credentials is None else httpx.BasicAuth(*credentials),
        follow_redirects=credentials is None,
        headers={"User-Agent": AGENT},
    ) as client:
        yield client


def receive(
    client: "httpx.Client", ask: "Ask", path: Path, pace: Pace, *, max_bytes: int, timeout_seconds: float
) -> Outcome:
    """Send one request and stream what comes into a file.

    Raises
    ------
    PermissionError
        The archive refuses the account (401), or the access (403): to go on asking would be no use.
    Stopped
        Work was called off.
    """
    import httpx

    pace.wait()
    method = "GET" if ask.upload is None else "POST"
    files = None
    if ask.upload is not None:
        field, text = ask.upload
        files = {field: ("list.txt", text.encode(), "text/plain")}
    deadline = time.monotonic() + DEADLINE * timeout_seconds
    has_body = False
    try:
        with client.stream(method, ask.url, params=dict(ask.params), files=files) as response:
            if response.status_code != 200:
                return refused(response)
            n_bytes = 0
            with path.open("wb") as file:
                for block in response.iter_bytes(BLOCK):
                    has_body = True
                    n_bytes += file.write(block)
                    if n_bytes > max_bytes:
                        return Outcome(f"a reply above {max_bytes:,} bytes", is_final=True)
                    if time.monotonic() > deadline:
                        return Outcome("timed out", has_body=True)
                    if pace.is_stopped:
                        raise Stopped
            return Outcome(has_body=True)
    except httpx.TimeoutException:
        return Outcome("timed out", has_body=has_body)
    except httpx.TransportError as error:
        reason = "connection cut" if has_body or "disconnected" in str(error) else f"no connection: {named(error)}"
        return Outcome(reason, has_body=has_body)
    except httpx.HTTPError as error:  # too many redirects, a body that cannot be decoded
        return Outcome(named(error), has_body=False)


def named(error: Exception) -> str:
    """What kind of error it was, without what it may quote."""
    return type(error).__name__


def refused(response: "httpx.Response") -> Outcome:
    """What a status other than 200 means.

    Raises
    ------
    PermissionError
        401 and 403.
    """
    status = response.status_code
    if status in (401, 403):
        what = "the account (status 401); check user and password" if status == 401 else "access (status 403)"
        raise PermissionError(f"{response.url.host} refuses {what}")
    wait = retry_after(response.headers.get("Retry-After", ""))
    if wait > MAX_WAIT:
        return Outcome(f"status {status}, asking to wait {wait:.0f} s", is_final=False, retry_after=wait)
    return Outcome(f"status {status}", is_final=status not in PASSING, retry_after=wait)


def retry_after(value: str) -> float:
    """Seconds that a Retry-After header asks to wait: a number or a date; 0 where it says nothing."""
    value = value.strip()
    if value.isdecimal():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return 0.0
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max((at - datetime.now(UTC)).total_seconds(), 0.0)
