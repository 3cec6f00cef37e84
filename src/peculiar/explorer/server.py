"""The application that serves one atlas, and how it is started."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field

from peculiar.explorer import reading, writing
from peculiar.explorer.guard import Guard, Rules
from peculiar.explorer.served import ERRORS, Options, Served

STATIC = Path(__file__).parent / "static"
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
    return JSONResponse({"detail": str(error.args[0] if error.args else error)}, status)


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

    app = FastAPI(title="peculiar", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json", lifespan=lifespan)
    app.state.served, app.state.rules = served, rules
    app.include_router(sessions)
    app.include_router(reading.router)
    if not options.is_read_only:
        app.include_router(writing.router)
    for kind in (ValueError, KeyError, FileNotFoundError):
        app.add_exception_handler(kind, _sentence)

    @app.get("/", include_in_schema=False)
    def page(request: Request, token: str = "") -> Response:
        if token and rules.expert_of(token) is not None:
            answer: Response = RedirectResponse("/", 303)
            _keep_token(answer, rules, token)
            return answer
        return Response((STATIC / "index.html").read_bytes(), media_type="text/html; charset=utf-8")

    app.mount("/", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Guard, rules=rules)
    return app


def _hosts(options: Options) -> frozenset[str]:
    names = {options.host, "localhost", "127.0.0.1", "[::1]"} if options.is_loopback else {options.host}
    given = {each if ":" in each else f"{each}:{options.port}" for each in options.allowed_hosts}
    at_port = {f"{each}:{options.port}" for each in names}
    return frozenset(each.lower() for each in at_port | given | set(options.allowed_hosts))


def serve(folder: Path, options: Options, when_ready: Callable[[str], None] = lambda url: None) -> None:
    """Serve until interrupted; `when_ready` is given the address."""
    import socket

    import uvicorn

    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((options.host, options.port))
    except OSError as error:
        raise OSError(
            f"port {options.port} of {options.host}: {error.strerror}; give another --port, or 0 for any"
        ) from error
    options = replace(options, port=listening.getsockname()[1])
    app = make_app(folder, options)
    shown = f"[{options.host}]" if ":" in options.host else options.host
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, ws="none")
    server = uvicorn.Server(config)
    when_ready(f"http://{shown}:{options.port}/")
    server.run(sockets=[listening])
