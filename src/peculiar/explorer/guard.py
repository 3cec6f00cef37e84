"""Who may ask what: hosts, origins, tokens, sizes and rates, checked before any route sees a request."""

import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import SimpleCookie
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "x-peculiar"  # that a write carries: no form of another site can send it
MAX_BODY = 1_000_000  # bytes
MAX_QUERY = 40_000  # characters: 1,024 ids and more
MAX_CLIENTS = 10_000  # whose rate is remembered
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
        Requests that each client may make.
    """

    hosts: frozenset[str]
    expert_of: Callable[[str], str | None]
    expert: str
    cookie: str
    per_second: float = 200.0
    burst: float = 1_000.0


class Guard:
    """ASGI middleware: refuses, or passes on with `scope["state"]["expert"]` set, None where nobody is known."""

    def __init__(self, app: "ASGIApp", rules: Rules) -> None:
        self.app, self.rules, self.rate = app, rules, Rate(rules.per_second, rules.burst)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Check one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        sending = _with_security(send, is_api=scope["path"].startswith("/api/"))
        refused = self._refusal(scope, headers)
        if refused is None:
            await self.app(scope, _bounded(receive), sending)
        else:
            await _answer(sending, *refused)

    def _refusal(self, scope: "Scope", headers: dict[str, str]) -> tuple[int, str] | None:
        """Status and sentence of a refusal; None where the request is let through."""
        rules, path, method = self.rules, scope["path"], scope["method"]
        host = headers.get("host", "").lower()
        if host not in rules.hosts:
            return 421, f"this server is not called {host!r}; start it with --allow-host to let this name in"
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
            return 403, "requests of other sites are refused"
        if headers.get("sec-fetch-site") == "cross-site" and path.startswith("/api/"):
            return 403, "requests of other sites are refused"
        if len(scope["query_string"]) > MAX_QUERY:
            return 414, f"the address may have {MAX_QUERY} characters of query; ask for fewer objects at once"
        token = _token(headers, rules.cookie)
        expert = rules.expert or (rules.expert_of(token) if token else None)
        scope.setdefault("state", {})["expert"] = expert or None
        if not self.rate.allows(expert or (scope.get("client") or ("",))[0]):
            return 429, "too many requests; wait a second"
        if not path.startswith("/api/"):
            return None
        if not expert and path != "/api/session":
            return 401, "a token is needed; ask who runs this server for yours"
        if method not in ("GET", "HEAD", "OPTIONS"):
            return self._refused_write(headers)
        return None

    def _refused_write(self, headers: dict[str, str]) -> tuple[int, str] | None:
        if HEADER not in headers:
            return 403, f"a write carries the header {HEADER}"
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY:
            return 413, f"a body may have {MAX_BODY} bytes; send less at once"
        return None


def _token(headers: dict[str, str], cookie: str) -> str:
    """The token of the header Authorization, else of the cookie; empty where there is none."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    found = SimpleCookie(headers.get("cookie", "")).get(cookie)
    return found.value if found else ""


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


def _bounded(receive: "Receive") -> "Receive":
    """The body, cut off where a client sends more than it said."""
    received = 0

    async def bounded() -> "Message":
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_BODY:
            return {"type": "http.disconnect"}
        return message

    return bounded


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
