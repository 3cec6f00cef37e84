"""The application that serves one atlas, and how it is started."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import h11
import uvicorn
from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field
from starlette.routing import Match
from uvicorn.protocols.http.h11_impl import H11Protocol

from peculiar.explorer import reading, samp, writing
from peculiar.explorer.guard import MAX_HEAD, SECURITY, Guard, Rules
from peculiar.explorer.served import ERRORS, Options, Served
from peculiar.ranking import Ranking

STATIC = Path(__file__).parent / "static"
MOST_CONNECTIONS = 240  # forty browsers of six each; as many files as a process may have open on macOS
HEAD_WITHIN = 10.0  # seconds in which the head of a request must have come
IDLE_FOR = 20  # seconds that a connection is kept for the next request
END_WITHIN = 5  # seconds that requests under way are given when the server ends
MOST_FAULTS, MOST_NAME = 20, 100  # that are told of a request that does not fit
log = logging.getLogger(__name__)
sessions = APIRouter(prefix="/api", responses=ERRORS)


class TokenIn(BaseModel):
    """A token, to be kept in a cookie."""

    model_config = ConfigDict(extra="forbid")
    token: Annotated[str, Field(min_length=1, max_length=200)]


@sessions.post("/session")
def session(request: Request, given: TokenIn) -> Response:
    """Keep a token in a cookie that no script can read."""
    rules: Rules = request.app.state.rules
    expert = rules.expert_of(given.token)
    if expert is None:
        raise HTTPException(401, "this token is not known; ask who runs this server for yours")
    answer = JSONResponse({"expert": expert})
    _keep_token(answer, rules, given.token)
    return answer


def _keep_token(answer: Response, rules: Rules, token: str) -> None:
    answer.set_cookie(rules.cookie, token, max_age=365 * 86_400, httponly=True, samesite="strict", path="/")


async def _sentence(request: Request, error: Exception) -> JSONResponse:
    """What went wrong, as a sentence: the atlas has no such thing, or what was asked for is not allowed."""
    status = 404 if isinstance(error, KeyError | FileNotFoundError) else 400
    return JSONResponse({"detail": str(error.args[0] if len(error.args) == 1 else error)}, status)


async def _unfit(request: Request, error: Exception) -> JSONResponse:
    """What does not fit, without what was sent: it may be a token, and may be no JSON."""
    assert isinstance(error, RequestValidationError)
    faults = [
        {"type": each["type"], "loc": [_shortened(part) for part in each["loc"]], "msg": each["msg"]}
        for each in error.errors()[:MOST_FAULTS]
    ]
    return JSONResponse({"detail": faults}, 422)


def _shortened(part: str | int) -> str | int:
    """A name that a client made up, so that it can be written."""
    return part if isinstance(part, int) else part.encode("ascii", "backslashreplace").decode()[:MOST_NAME]


async def _not_allowed(request: Request, error: Exception) -> JSONResponse:
    """All methods that this address has are told: of two routes at one address, the first alone would say its own."""
    routes = [each for each in request.app.state.routes if each.matches(request.scope)[0] is not Match.NONE]
    allowed = sorted({method for each in routes for method in each.methods}) or ["GET", "HEAD"]
    return JSONResponse({"detail": "Method Not Allowed"}, 405, {"allow": ", ".join(allowed)})


async def _out_of_order(request: Request, error: Exception) -> JSONResponse:
    """The disk, or the file of labels: what it was is for who runs this server."""
    log.error("%s %s: %s", request.method, request.url.path, error)
    return JSONResponse({"detail": "the atlas cannot be read or written now; try again"}, 503)


async def _broken(request: Request, error: Exception) -> JSONResponse:
    """A fault of ours; this answer does not pass the guard, which sets the headers of all others."""
    said = "the server failed; its console says why"
    return JSONResponse({"detail": said}, 500, {**SECURITY, "cache-control": "no-store"})


# The application.


def make_app(folder: Path, options: Options | None = None) -> FastAPI:
    """The application that serves one atlas.

    Raises
    ------
    FileNotFoundError
        The atlas has no complete ranking.
    """
    options = options or Options()
    served = Served(folder, options)
    rules = Rules(
        hosts=_hosts(options),
        expert_of=served.labels.expert_of,
        expert=options.expert,
        cookie=f"peculiar-{options.port}",
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        served.teacher.stop()
        if options.has_samp:
            app.state.samp.close()

    app = FastAPI(
        title="peculiar",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.served, app.state.rules = served, rules
    routers = [sessions, reading.router] if options.is_read_only else [sessions, reading.router, writing.router]
    if options.has_samp:
        app.state.samp = samp.Samp(folder.resolve().name)
        routers.append(samp.router)
    for router in routers:
        app.include_router(router)
    app.state.routes = [route for router in routers for route in router.routes]
    for kind in (ValueError, KeyError, FileNotFoundError):
        app.add_exception_handler(kind, _sentence)
    app.add_exception_handler(RequestValidationError, _unfit)
    app.add_exception_handler(405, _not_allowed)
    app.add_exception_handler(OSError, _out_of_order)
    app.add_exception_handler(Exception, _broken)

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    def page(request: Request, token: str = "") -> Response:
        if token and rules.expert_of(token) is not None:
            answer: Response = RedirectResponse("/", 303)
            _keep_token(answer, rules, token)
            return answer
        return Response((STATIC / "index.html").read_bytes(), media_type="text/html; charset=utf-8")

    @app.get("/icon.svg", include_in_schema=False)
    def icon() -> Response:
        return FileResponse(STATIC / "icon.svg")

    # Not at "/": a mount there answers for all methods that the routes above have not.
    app.mount("/assets", StaticFiles(directory=STATIC / "assets", check_dir=False), name="assets")
    app.add_middleware(Guard, rules=rules)
    return app


def _hosts(options: Options) -> frozenset[str]:
    """Values of Host that are answered: this machine's own names, and those that were given."""
    names = {options.host, "localhost", "127.0.0.1", "[::1]"}
    if not options.is_loopback:
        names |= {socket.gethostname(), socket.getfqdn()}
    given = {each if ":" in each else f"{each}:{options.port}" for each in options.allowed_hosts}
    at_port = {f"{each}:{options.port}" for each in names}
    return frozenset(each.lower() for each in at_port | given | set(options.allowed_hosts))


class _Impatient(H11Protocol):
    """Ends a connection on which the head of a request does not come; uvicorn alone waits for it for ever."""

    patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self.patience = self.loop.call_later(HEAD_WITHIN, transport.close)

    def data_received(self, data: bytes) -> None:
        """Wait on, from the first byte of a head to its last."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self.patience is None:
            self.patience = self.loop.call_later(HEAD_WITHIN, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        if self.patience is not None:
            self.patience.cancel()
            self.patience = None


def serve(folder: Path, options: Options, when_ready: Callable[[str], None] = lambda url: None) -> None:
    """Serve until interrupted; `when_ready` is given the address."""
    server, listening, url = prepared(folder, options)
    logging.getLogger("peculiar.io").setLevel(logging.WARNING)  # files that are made to be sent are not told of
    when_ready(url)
    server.run(sockets=[listening])


def prepared(folder: Path, options: Options) -> tuple[uvicorn.Server, socket.socket, str]:
    """A server that has its port and waits to be run, and its address.

    Raises
    ------
    OSError
        The port is not to be had.
    """
    Ranking(folder, options.ranking)  # which says what is missing, before a port is asked for
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((options.host, options.port))
        listening.listen()  # so that who is told of the address can come at once, and waits until it is served
    except OSError as error:
        listening.close()
        raise OSError(
            f"port {options.port} of {options.host}: {error.strerror}; give another --port, or 0 for any"
        ) from error
    options = replace(options, port=listening.getsockname()[1])
    try:
        app = make_app(folder, options)
    except BaseException:
        listening.close()
        raise
    named = socket.gethostname() if options.host in ("0.0.0.0", "::") else options.host
    shown = f"[{named}]" if ":" in named else named
    config = uvicorn.Config(
        app,
        http=_Impatient,
        ws="none",
        log_level="warning",
        access_log=False,  # an address may hold a token
        server_header=False,
        h11_max_incomplete_event_size=MAX_HEAD,  # 1,024 ids in an address are more than the 16 KiB of the default
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=IDLE_FOR,
        timeout_graceful_shutdown=END_WITHIN,
    )
    return uvicorn.Server(config), listening, f"http://{shown}:{options.port}/"
