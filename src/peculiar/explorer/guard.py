"""Who may ask what: hosts, origins, tokens, sizes and rates, checked before any route sees a request."""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from starlette.requests import cookie_parser

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "x-peculiar"  # that a write carries: no form of another site can send it
MAX_BODY = 1_000_000  # bytes
BODY_WITHIN = 30.0  # seconds in which a body must have come
MAX_QUERY = 40_000  # characters: 1,024 ids and more
MAX_HEAD = 65_536  # bytes of a request before its body: the query, and headers
MAX_CLIENTS = 10_000  # whose rate is remembered
TOO_LONG = f"a body may have {MAX_BODY} bytes; send less at once"
READS = ("GET", "HEAD", "OPTIONS")
POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' blob: data:"),
        *("connect-src 'self'", "worker-src 'self'", "font-src 'self'", "base-uri 'none'", "form-action 'none'"),
        "frame-ancestors 'self' http://localhost:* http://127.0.0.1:*",  # a notebook's cell
    )
)
SECURITY = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What is let through.

    Parameters
    ----------
    hosts
        Values of the header Host, with the port: another name means that a page elsewhere was made to point here.
    expert_of
        The expert of a token, or None.
    expert
        Who asks where no token is needed; empty where one is.
    cookie
        Name of the cookie that a token comes in.
    per_second, burst
        Requests that each expert may make.
    stranger_per_second, stranger_burst
        Requests without a token that is known, of one address: the page itself, and tokens that are tried.
    """

    hosts: frozenset[str]
    expert_of: Callable[[str], str | None]
    expert: str
    cookie: str
    per_second: float = 200.0
    burst: float = 1_000.0
    stranger_per_second: float = 10.0
    stranger_burst: float = 200.0


class Guard:
    """ASGI middleware: refuses, or passes on with `scope["state"]["expert"]` set, None where nobody is known."""

    def __init__(self, app: "ASGIApp", rules: Rules) -> None:
        self.app, self.rules = app, rules
        self.experts = Rate(rules.per_second, rules.burst)
        self.strangers = Rate(rules.stranger_per_second, rules.stranger_burst)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Check one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        sending = _with_security(send, is_api=scope["path"].startswith("/api/"))
        refused = self._refusal(scope, headers)
        if refused is None and _is_write(scope):
            try:
                async with asyncio.timeout(BODY_WITHIN):
                    body = await _body(receive)
            except TimeoutError:
                refused = 408, f"the body did not come within {BODY_WITHIN:g} s; send it again"
            except ValueError as error:
                refused = 413, str(error)
            else:
                if body is None:
                    return
                receive = _again(body, receive)
        if refused is None:
            await self.app(scope, receive, sending)
        else:
            await _answer(sending, *refused)

    def _refusal(self, scope: "Scope", headers: dict[str, str]) -> tuple[int, str] | None:
        """Status and sentence of a refusal; None where the request is let through."""
        rules, path = self.rules, scope["path"]
        host = headers.get("host", "").lower()
        if host not in rules.hosts:
            return 421, f"this server is not called {host!r}; start it with --allow-host to let this name in"
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
            return 403, "requests of other sites are refused"
        if path.startswith("/api/") and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return 403, "requests of other sites are refused"
        if sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > MAX_HEAD:
            return 431, f"the headers may have {MAX_HEAD} bytes; delete the cookies of this site"
        if len(scope["query_string"]) > MAX_QUERY:
            return 414, f"the address may have {MAX_QUERY} characters of query; ask for fewer objects at once"
        token = _token(headers, rules.cookie)
        expert = rules.expert or (rules.expert_of(token) if token else None)
        scope.setdefault("state", {})["expert"] = expert or None
        address = (scope.get("client") or ("",))[0]
        if not (self.experts.allows(expert) if expert else self.strangers.allows(address)):
            return 429, "too many requests; wait a second"
        if not path.startswith("/api/"):
            return None
        if not expert and path != "/api/session":
            return 401, "a token is needed; ask who runs this server for yours"
        return self._refused_write(headers) if _is_write(scope) else None

    def _refused_write(self, headers: dict[str, str]) -> tuple[int, str] | None:
        if HEADER not in headers:
            return 403, f"a write carries the header {HEADER}"
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or len(length) > 20 or int(length) > MAX_BODY:
            return 413, TOO_LONG
        return None


def _is_write(scope: "Scope") -> bool:
    return scope["path"].startswith("/api/") and scope["method"] not in READS


def _token(headers: dict[str, str], cookie: str) -> str:
    """The token of the header Authorization, else of the cookie; empty where there is none."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    # Not http.cookies, which stops, or fails, at what another server of this machine has set.
    return cookie_parser(headers.get("cookie", "")).get(cookie, "")


class Rate:
    """A bucket of tokens for each client, filled at a steady rate."""

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_second, self.burst, self.clock = per_second, burst, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def allows(self, client: str) -> bool:
        """Whether this client may ask now; one that may not pays nothing."""
        with self._lock:
            now = self.clock()
            left, then = self._left.pop(client, (self.burst, now))
            left = min(self.burst, left + (now - then) * self.per_second)
            is_allowed = left >= 1
            self._left[client] = (left - is_allowed, now)
            if len(self._left) > MAX_CLIENTS:
                self._left.popitem(last=False)
            return is_allowed


async def _body(receive: "Receive") -> bytes | None:
    """The whole body; None where the client went away.

    Raises
    ------
    ValueError
        It is too long, whatever length was said.
    """
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise ValueError(TOO_LONG)
        if not message.get("more_body", False):
            return bytes(body)


def _again(body: bytes, receive: "Receive") -> "Receive":
    """The body that was received, once more, and then what comes after it."""
    is_told = False

    async def again() -> "Message":
        nonlocal is_told
        if is_told:
            return await receive()
        is_told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _with_security(send: "Send", *, is_api: bool) -> "Send":
    """Every answer carries the headers of security, and what a route says nothing of is not kept."""

    async def sending(message: "Message") -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message["headers"]}
            added = {**SECURITY, "cache-control": "no-store" if is_api else "no-cache"}
            message["headers"] = [
                *message["headers"],
                *((name.encode(), value.encode()) for name, value in added.items() if name.encode() not in there),
            ]
        await send(message)

    return sending


async def _answer(send: "Send", status: int, said: str) -> None:
    body = json.dumps({"detail": said}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
