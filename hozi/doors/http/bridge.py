"""Between the web server and Django: a slow client costs a connection, never a thread.

Granian gives each request as a coroutine. Here its body is read, under limits and against the clock, before a thread
of the pool runs Django on it; an answer that streams gets a thread of another pool, and so does a request whose body is
larger than that (`inflow`). Django stays what it is, a synchronous WSGI application; decision record 13 says why
Granian's own WSGI door is not used.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, Final, Protocol

import structlog
from django.db import connections

from hozi.doors.http import connection, headers, pages
from hozi.doors.http.gate import Gate, NotLetIn, Request, Scope
from hozi.doors.http.inflow import Inflow

LARGEST_BODY: Final = 16 << 20
IN_MEMORY: Final = 64 << 10
"""A body longer than this waits in a temporary file, and needs one of LARGE_BODIES places."""
LARGE_BODIES: Final = 16
LARGE_BODIES_OF_ONE: Final = 4

FIRST_SECONDS: Final = 15.0
SLOWEST: Final = 4096
"""A body, and a streamed answer, must keep up this many bytes a second, after FIRST_SECONDS. A link of 256 kbit/s
makes eight times as many."""

UNREAD_SECONDS: Final = 30.0
"""So long may a client take nothing of its answer."""

AHEAD: Final = 2 << 20
"""A streamed answer is made no further ahead than this of what the client has taken."""

SHORTEST_WAIT: Final = 0.0002
LONGEST_WAIT: Final = 0.05
"""So many seconds, more and more, until it is looked again whether the client has taken something."""

WAITING_FOR_EACH_THREAD: Final = 16
"""Requests that may wait for each thread; more are told at once to come again."""

STREAMS: Final = 24
STREAMS_OF_ONE: Final = 10
"""Answers that stream at the same time, in each process, in all and for one address."""

INFLOWS: Final = 16
INFLOWS_OF_ONE: Final = 4
"""Bodies that stream in at the same time, in each process, in all and for one address."""

WHOLE: Final = 1 << 20
"""Files up to this size are answered in one piece."""

_TAKEN: Final = "PyEmptyAwaitable"
"""What Granian 2.8 gives to be awaited when it has taken a piece at once, which is always: its queue has no end.
Then no other thread needs to be troubled, thousands of times a second."""

log = structlog.get_logger(__name__)

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Pairs = list[tuple[str, str]]
StreamsIn = Callable[[str, str], bool]
"""Whether the body of a request with that method and path is handed on as it comes, however long it is."""


class Stream(Protocol):
    """The way out for an answer in pieces."""

    def send_bytes(self, data: bytes) -> Awaitable[None]:
        """Takes it; what is returned says when, if that was not at once."""
        ...


class Transport(Protocol):
    """A request's body on the way in, its answer on the way out, as Granian gives them (RSGI 1.5)."""

    def __aiter__(self) -> Any: ...

    def response_bytes(self, status: int, headers: Pairs, body: bytes) -> None:
        """The whole answer."""
        ...

    def response_empty(self, status: int, headers: Pairs) -> None:
        """An answer without a body."""
        ...

    def response_stream(self, status: int, headers: Pairs) -> Stream:
        """An answer whose body follows."""
        ...


class Answer:
    """What Django answered: a status, headers, and a body that is whole or still to come."""

    def __init__(self) -> None:
        self.status = 500
        self.headers: Pairs = []
        self.body: bytes = b""
        self.pieces: Iterable[bytes] | None = None
        self.route = ""
        self.size = 0
        self.begun = False

    def start(self, status: str, pairs: Pairs, exc_info: Any = None) -> None:
        """WSGI's ``start_response``."""
        self.status = int(status.split(" ", 1)[0])
        self.headers = [(name.lower(), value) for name, value in pairs]

    def refuse(self, status: int, number: str) -> None:
        """A page that says so; and the connection ends with it, since the request's body may still be coming."""
        self.status = status
        self.body, self.pieces = pages.page(status, number), None
        self.headers = [
            ("content-type", "text/html; charset=utf-8"),
            ("content-security-policy", pages.POLICY),
            ("connection", "close"),
        ]
        if status == 503:
            self.headers.append(("retry-after", "2"))

    def header(self, name: str) -> str:
        """The value of that header (in small letters); empty when there is none."""
        return next((value for key, value in self.headers if key == name), "")


class Bridge:
    """The application that Granian calls: `gate`, then Django in one of ``threads`` threads."""

    def __init__(
        self,
        application: Application,
        gate: Gate,
        threads: int,
        streams_in: StreamsIn = lambda method, path: False,
    ) -> None:
        self._application = application
        self._gate = gate
        self._streams_in = streams_in
        self._pool = ThreadPoolExecutor(threads, "request")
        self._streams = ThreadPoolExecutor(STREAMS, "stream")
        self._inflows = ThreadPoolExecutor(INFLOWS, "inflow")
        self._room = threads * (1 + WAITING_FOR_EACH_THREAD)
        self._bodies: Counter[str] = Counter()
        self._streaming: Counter[str] = Counter()
        self._flowing: Counter[str] = Counter()

    async def __rsgi__(self, scope: Scope, transport: Transport) -> None:
        """Answers one request; whatever happens, it is answered, and the log says how."""
        begun = time.monotonic()
        number = self._gate.number(scope)
        answer, address = Answer(), ""
        try:
            address = self._gate.address(scope)
            streams = self._streams_in(scope.method, scope.path)
            request = self._gate.let_in(scope, number, chunked=streams)
            if streams:
                await self._take_in(request, transport, answer)
            else:
                await self._work(request, transport, answer)
            if answer.pieces is None:
                _send(transport, answer, request, request.number)
            else:
                await self._stream(request, transport, answer, scope.client)
        except NotLetIn as refusal:
            log.info("request refused", request=number, why=refusal.why)
            answer.refuse(refusal.status, number)
            _send(transport, answer, None, number)
        except Exception:  # a door: the page has the number, the log has the place
            log.exception("a request failed", request=number)
            if not answer.begun:
                answer.refuse(500, number)
                _send(transport, answer, None, number)
        finally:
            _tell(answer, time.monotonic() - begun, number, scope.method, address)

    async def _take_in(self, request: Request, transport: Transport, answer: Answer) -> None:
        """Runs the application in a thread of its own pool, and hands it the body as it comes, when it asks for it."""
        with _place(self._flowing, request.address, INFLOWS, INFLOWS_OF_ONE, "too many bodies stream in") as place:
            place()
            loop = asyncio.get_running_loop()
            body = Inflow(transport, request.length, loop)
            try:
                await loop.run_in_executor(self._inflows, self._run_inflow, request, body, answer)
            finally:
                body.stop()
            if not body.ended or request.header("transfer-encoding"):
                # What is still coming is no next request. And of a body in chunks that told a length too, only one
                # of the two is seen here, and a proxy may have seen the other (RFC 9112 §6.1).
                answer.headers.append(("connection", "close"))

    def _run_inflow(self, request: Request, body: Inflow, answer: Answer) -> None:
        """In a thread of the pool for bodies that stream in; these threads keep no connection to the database."""
        try:
            length = "" if request.length is None else str(request.length)
            self._run_with(request, body, length, answer)
        finally:
            body.close()
            connections.close_all()

    async def _work(self, request: Request, transport: Transport, answer: Answer) -> None:
        with _place(
            self._bodies, request.address, LARGE_BODIES, LARGE_BODIES_OF_ONE, "too many large bodies arrive"
        ) as place:
            body = await _body(request, transport, place)
            with body:
                if self._room <= 0:
                    raise NotLetIn(503, "too many requests wait")
                self._room -= 1
                try:
                    await _in_thread(self._pool, lambda: self._run(request, body, answer))
                finally:
                    self._room += 1

    def _run(self, request: Request, body: IO[bytes], answer: Answer) -> None:
        """In a thread of the pool: Django, from the first middleware to the last."""
        length = body.seek(0, 2)
        body.seek(0)
        self._run_with(request, body, str(length) if length or request.length is not None else "", answer)

    def _run_with(self, request: Request, body: Any, length: str, answer: Answer) -> None:
        environ = request.environ()
        environ["CONTENT_LENGTH"] = length
        environ["wsgi.input"] = body
        environ["wsgi.errors"] = ErrorStream()
        with structlog.contextvars.bound_contextvars(request=request.number):
            pieces = self._application(environ, answer.start)
        answer.route = str(environ.get("hozi.route", ""))
        if getattr(pieces, "streaming", False) and request.method != "HEAD":
            length_told = answer.header("content-length")
            if not length_told or int(length_told) > WHOLE:
                answer.pieces = pieces
                return
        try:
            if request.method != "HEAD":
                answer.body = b"".join(pieces)
        finally:
            _close(pieces)

    async def _stream(self, request: Request, transport: Transport, answer: Answer, peer: str) -> None:
        """Sends piece after piece, each made in one and the same thread, as fast as the client takes them."""
        full = "too many answers stream"
        with _place(self._streaming, request.address, STREAMS, STREAMS_OF_ONE, full) as place:
            try:
                place()
            except NotLetIn:
                _close(answer.pieces)
                answer.pieces = None
                raise
            loop = asyncio.get_running_loop()
            client = connection.find(peer)
            try:
                answer.begun = True
                pairs = headers.complete(answer.headers, request.scheme, request.number)
                stream = transport.response_stream(answer.status, pairs)
                await loop.run_in_executor(self._streams, _send_pieces, request, answer, stream, loop, client)
            finally:
                if client is not None:
                    client.close()


@contextlib.contextmanager
def _place(taken: Counter[str], address: str, most: int, most_of_one: int, why: str) -> Iterator[Callable[[], None]]:
    """Gives a function that takes a place, at most once, or raises NotLetIn; the place is free again afterwards."""
    has = False

    def take() -> None:
        nonlocal has
        if has:
            return
        if taken.total() >= most or taken[address] >= most_of_one:
            raise NotLetIn(503, why)
        has = True
        taken[address] += 1

    try:
        yield take
    finally:
        if has:
            taken[address] -= 1
        if not taken[address]:
            del taken[address]


def _in_thread(pool: ThreadPoolExecutor, work: Callable[[], None]) -> asyncio.Future[None]:
    """What `run_in_executor` does, without its second future and what goes between the two: it is on every path."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        failed = None
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
            failed = error
        loop.call_soon_threadsafe(settle, failed)

    pool.submit(run)
    return done


async def _body(request: Request, transport: Transport, place: Callable[[], None]) -> IO[bytes]:
    """The whole body; raises NotLetIn when it is too large or comes too slowly."""
    if (request.length or 0) > LARGEST_BODY:
        raise NotLetIn(413, "its body is too large")
    if (request.length or 0) > IN_MEMORY:
        place()
    if not request.length:
        return io.BytesIO()
    body: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115
    begun, size = asyncio.get_running_loop().time(), 0
    pieces = aiter(transport)
    try:
        while True:
            async with asyncio.timeout_at(begun + FIRST_SECONDS + size / SLOWEST):
                try:
                    piece = await anext(pieces)
                except StopAsyncIteration:
                    break
            size += len(piece)
            if size > LARGEST_BODY:
                raise NotLetIn(413, "its body is too large")
            if size > IN_MEMORY:
                place()
            body.write(piece)
    except TimeoutError:
        body.close()
        raise NotLetIn(408, "its body came too slowly") from None
    except BaseException:
        body.close()
        raise
    if request.length is not None and size != request.length:
        body.close()
        raise NotLetIn(400, "its body broke off")
    return body


def _send_pieces(
    request: Request,
    answer: Answer,
    stream: Stream,
    loop: asyncio.AbstractEventLoop,
    client: connection.Connection | None,
) -> None:
    """In a thread of its own: makes the pieces and hands them on. An answer that breaks off is cut, not ended well."""
    begun, whole = time.monotonic(), False
    pieces = answer.pieces or ()
    try:
        with structlog.contextvars.bound_contextvars(request=request.number):
            for piece in pieces:
                if not piece:
                    continue
                if client is not None and not _wait_for_room(client, answer.size, begun):
                    log.info("the client left before the end", request=request.number, bytes=answer.size)
                    break
                put = stream.send_bytes(piece)
                if type(put).__name__ != _TAKEN:
                    asyncio.run_coroutine_threadsafe(_done(put), loop).result(UNREAD_SECONDS)
                answer.size += len(piece)
            else:
                whole = True
    except TimeoutError:
        log.info("the client took too little in too long", request=request.number, bytes=answer.size)
    except Exception:  # a door: the log has it, the client sees that something is missing
        log.exception("an answer broke off", request=request.number, bytes=answer.size)
    finally:
        if not whole and client is not None:
            client.reset()
        _close(pieces)
        # Pieces may have asked the database; these threads keep no connection.
        connections.close_all()


def _wait_for_room(client: connection.Connection, sent: int, begun: float) -> bool:
    """Waits until the client has taken what it had sent, all but AHEAD; False when it is gone.

    Raises TimeoutError when it takes too little.
    """
    pause = SHORTEST_WAIT
    while not client.is_gone():
        taken = client.taken()
        if sent - taken <= AHEAD:
            return True
        if time.monotonic() - begun > UNREAD_SECONDS + taken / SLOWEST:
            raise TimeoutError
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_WAIT)
    return False


async def _done(put: Awaitable[None]) -> None:
    # What Granian gives can be awaited, but is no coroutine.
    await put


def _send(transport: Transport, answer: Answer, request: Request | None, number: str) -> None:
    answer.begun = True
    pairs = headers.complete(answer.headers, request.scheme if request else "http", number)
    if not answer.body or (request is not None and request.method == "HEAD"):
        transport.response_empty(answer.status, pairs)
    else:
        transport.response_bytes(answer.status, pairs, answer.body)
        answer.size = len(answer.body)


def _close(pieces: Any) -> None:
    close = getattr(pieces, "close", None)
    if close is not None:
        close()


def _tell(answer: Answer, seconds: float, number: str, method: str, address: str) -> None:
    """One line for each request. Not its path, which strangers choose, but which page that is; no query, no body."""
    quiet = answer.route in ("/healthz", "/readyz") and answer.status < 400
    (log.debug if quiet else log.info)(
        "request",
        request=number,
        method=method if len(method) < 8 else "?",
        route=answer.route,
        status=answer.status,
        ms=round(seconds * 1000, 1),
        bytes=answer.size,
        address=address,
    )


class ErrorStream(io.TextIOBase):
    """WSGI's ``wsgi.errors`` (PEP 3333): what is written there may hold anything, so the log has only that it was."""

    def write(self, text: str) -> int:
        """Says that something was written, and how long it was."""
        if text.strip():
            log.warning("something was written to wsgi.errors", characters=len(text))
        return len(text)
