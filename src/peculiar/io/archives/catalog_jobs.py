"""The catalog service of the Hyper Suprime-Cam archive: submit a query, wait, download, delete; killed, go on."""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from peculiar.io.archives.archive import Flawed, host_of
from peculiar.io.archives.hsc import BASE_URL, LOGIN
from peculiar.io.archives.transport import MAX_WAIT, Pace, connected, named, refused
from peculiar.run import write_json

if TYPE_CHECKING:
    import httpx

CLIENT_VERSION = 20190514.1  # of the archive's own script for PDR2 and PDR3, whose messages these are
FORMATS = {".fits": "fits", ".csv": "csv", ".csv.gz": "csv.gz"}  # by the output's ending
BEGINNINGS = {"fits": b"SIMPLE  =", "csv.gz": b"\x1f\x8b"}
BLOCK = 2**16
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """How to deal with the service."""

    base_url: Annotated[str, "address of the archive"] = BASE_URL
    release_version: Annotated[str, "release as the service calls it, such as pdr3-citus; empty: pdr2 or pdr3"] = ""
    n_tries: Annotated[int, "how often to try what fails"] = 8
    timeout_seconds: Annotated[float, "seconds without a byte after which a request has failed"] = 120.0
    poll_seconds: Annotated[float, "first wait for the query, doubled each time, to five minutes"] = 2.0
    is_kept: Annotated[bool, "leave the job in the archive after the download"] = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        host_of(self.base_url, is_secret=True)
        if not 1 <= self.n_tries <= 50:
            raise ValueError(f"n_tries must be 1 to 50, got {self.n_tries}")
        if not (self.timeout_seconds > 0 and self.poll_seconds >= 0):
            raise ValueError(f"timeout_seconds must be above 0 and poll_seconds not below, got {self}")


def run_query(sql: str, release: str, output: Path, options: JobOptions) -> Path:
    """Run a query in the archive and put its table at `output`; interrupted, the same call goes on.

    ``<output>.job.json`` holds the number of the job and the digest of its query, no account; the table comes into
    ``<output>.partial``.

    Raises
    ------
    FileExistsError
        `output` is there already.
    PermissionError
        No account, or a refused one.
    ValueError
        The archive calls the query wrong, with its words; or `output` ends in no format of the service.
    ConnectionError
        The archive cannot be reached, as often as it was tried; the same call goes on.
    """
    from peculiar.io.archives.credentials import find_credentials

    form = next((form for ending, form in FORMATS.items() if output.name.endswith(ending)), None)
    if form is None:
        raise ValueError(f"{output} must end in {', '.join(FORMATS)}: the service writes these")
    record = output.with_name(output.name + ".job.json")
    if output.exists() and not record.exists():
        raise FileExistsError(f"{output} is there already; move it away, or give another name")
    account, password = find_credentials(host_of(options.base_url), LOGIN)
    credential = {"account_name": account, "password": password}
    with connected(options.timeout_seconds, 1, None) as client:
        service = _Service(client, options, credential)
        job = _job(service, sql, options.release_version or release, form, record, output)
        if not output.exists():
            service.wait_for(job)
            _download(service, job, form, output)
        if not options.is_kept:
            service.call("delete", {"id": job})
    record.unlink()
    return output


class _Service:
    """Calls of the service, each tried as often as is told."""

    def __init__(self, client: "httpx.Client", options: JobOptions, credential: dict[str, str]) -> None:
        self.client, self.options, self.credential = client, options, credential
        self.pace = Pace(min(options.poll_seconds, 1.0))
        self.client.follow_redirects = False  # a password is in the body

    def call(self, what: str, message: dict[str, Any]) -> dict[str, Any]:
        """The answer to a message, JSON."""

        def read(response: "httpx.Response") -> dict[str, Any]:
            text = response.read()
            try:
                answer = json.loads(text or b"{}")
            except ValueError:
                raise Flawed("a reply that is not JSON", is_final=False) from None
            return answer if isinstance(answer, dict) else {}

        return self.send(what, message, read)

    def send(
        self,
        what: str,
        message: dict[str, Any],
        read: "Callable[[httpx.Response], Any]",
        headers: "Callable[[], dict[str, str]]" = dict,
    ) -> Any:
        """Post a message, and hand the response on to be read, until it can be."""
        import httpx

        url = f"{self.options.base_url.rstrip('/')}/datasearch/api/catalog_jobs/{what}"
        body = {**message, "credential": self.credential, "clientVersion": CLIENT_VERSION}
        reason = ""
        for attempt in range(self.options.n_tries):
            if attempt:
                self.pace.back_off(attempt)
            self.pace.wait()
            try:
                with self.client.stream("POST", url, json=body, headers=headers()) as response:
                    if response.status_code in (200, 206):
                        return read(response)
                    if response.status_code == 406:  # the service's word on a wrong query
                        text = response.read().decode(errors="replace")
                        raise ValueError(f"the archive refuses the query: {self._safe(text)}")
                    outcome = refused(response)
                    if outcome.is_final or outcome.retry_after > MAX_WAIT:
                        raise ConnectionError(f"the archive answers {what!r} with {outcome.reason}")
                    reason = outcome.reason
                    self.pace.hold(outcome.retry_after)
            except Flawed as flaw:
                reason = flaw.reason
            except httpx.HTTPError as error:
                reason = named(error)
        raise ConnectionError(
            f"the archive did not answer {what!r} in {self.options.n_tries} tries ({reason}); the same command goes on"
        )

    def wait_for(self, job: int | str) -> None:
        """Ask for the state of the job, ever more seldom, until it is done."""
        seconds = self.options.poll_seconds
        while True:
            answer = self.call("status", {"id": job})
            status = answer.get("status")
            if status == "done":
                return
            if status in ("error", "cancelled", "canceled"):
                raise ValueError(f"the query failed in the archive: {self._safe(str(answer.get('error') or status))}")
            log.info("job %s: %s", job, self._safe(str(status)))
            self.pace.sleep(seconds)
            seconds = min(2 * seconds, 300.0)

    def _safe(self, text: str) -> str:
        """What the archive says, short, and without the password should it repeat it."""
        return " ".join(text.split())[:500].replace(self.credential["password"], "***")


def _job(service: _Service, sql: str, release: str, form: str, record: Path, output: Path) -> int | str:
    """The number of the job: of the one submitted before, or of a new one."""
    digest = hashlib.blake2b(f"{release} {form}\n{sql}".encode(), digest_size=16).hexdigest()
    if record.exists():
        before = json.loads(record.read_text(encoding="utf-8"))
        if before["query"] != digest:
            raise ValueError(f"{record} is of another query; finish that one, or remove the file and {output}.partial")
        log.info("going on with job %s", before["job"])
        number: int | str = before["job"]
        return number
    partial_of(output).unlink(missing_ok=True)
    catalog_job = {"sql": sql, "out_format": form, "include_metainfo_to_body": False, "release_version": release}
    answer = service.call("submit", {"catalog_job": catalog_job, "nomail": True, "skip_syntax_check": False})
    if "id" not in answer:
        raise ConnectionError("the archive took the query but gave no number of a job")
    write_json(record, {"job": answer["id"], "query": digest, "archive": service.options.base_url})
    log.info("submitted as job %s", answer["id"])
    number = answer["id"]
    return number


def partial_of(output: Path) -> Path:
    """Where a table comes in."""
    return output.with_name(output.name + ".partial")


def _download(service: _Service, job: int | str, form: str, output: Path) -> None:
    """Stream the table; where the service can, go on behind what came before."""
    partial = partial_of(output)

    def size() -> int:
        return partial.stat().st_size if partial.exists() else 0

    def read(response: "httpx.Response") -> None:
        begins = response.headers.get("Content-Range", "").startswith(f"bytes {size()}-")
        is_going_on = response.status_code == 206 and begins
        if response.status_code == 206 and not begins:
            partial.unlink(missing_ok=True)
            raise Flawed("another part than asked for", is_final=False)
        with partial.open("ab" if is_going_on else "wb") as file:
            for block in response.iter_raw(BLOCK):  # a .csv.gz is to stay one
                file.write(block)
        _check(partial, form)

    service.send("download", {"id": job}, read, lambda: {"Range": f"bytes={size()}-"} if size() else {})
    partial.replace(output)


def _check(partial: Path, form: str) -> None:
    """Refuse what is no table: a page of an error, or an empty file."""
    with partial.open("rb") as stream:
        begins = stream.read(10_000)
    is_table = begins.startswith(BEGINNINGS[form]) if form in BEGINNINGS else b"object_id" in begins
    if not is_table or begins.lstrip().startswith(b"<"):
        partial.unlink()
        raise Flawed(f"a reply that is no {form}", is_final=False)
