"""
httpx and httpx2 as applications use them without an SDK: what they see is unchanged, what is captured is complete.
"""

import asyncio
import contextlib
import datetime as dt
import functools
import gc
import inspect
import json
import pickle
import subprocess
import sys
import threading

import httpx
import httpx2
import pytest
from either import collected, drive, first, items, opened, value
from outcomes import chain, plain

import otel_llm
from otel_llm.pipeline import Pipeline
from otel_llm.testing import ProviderServer, Reply

PATH = "/v1/chat/completions"
USAGE = {"prompt_tokens": 1021, "completion_tokens": 37, "total_tokens": 1058}
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Will it rain?"}]}
STREAM = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
NEVER = threading.Event()

libraries = pytest.mark.parametrize("lib", [httpx, httpx2], ids=["httpx", "httpx2"])
both = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


def client_of(lib, *, asynchronous, **options):
    return (lib.AsyncClient if asynchronous else lib.Client)(**options)


def facts(response):
    """
    Give everything that an application can ask a response.
    """
    return {
        "status": response.status_code,
        "headers": plain(dict(response.headers)),
        "body": plain(response.content) if hasattr(response, "_content") else None,
        "elapsed": isinstance(getattr(response, "_elapsed", None) or response.elapsed, dt.timedelta),
        "stream": (type(response.stream).__module__, type(response.stream).__qualname__),
        "downloaded": response.num_bytes_downloaded,
        "closed": (response.is_closed, response.is_stream_consumed),
        "history": [past.status_code for past in response.history],
        "request": (str(response.request.url), plain(list(response.request.headers.raw))),
        "attributes": sorted(vars(response)),
    }


def in_pieces(body, *, asynchronous):
    """
    Give a request body as a generator.
    """
    data = json.dumps(body).encode()

    def sync():
        yield data[:7]
        yield data[7:]

    async def anew():
        for piece in sync():
            yield piece

    return anew() if asynchronous else sync()


# --- What applications do; each is run bare and captured ---

USES = []


def use(*replies, records=1, **expected):
    """
    Put a use into the table, with what the server answers and what a record has to tell.
    """

    def register(run):
        told = {"status": "success", "tokens": (1021, 37), **expected}
        USES.append(pytest.param(run, replies or (Reply(usage=USAGE),), records, told, id=run.__name__))
        return run

    return register


@use()
async def post(client, url):
    return facts(await value(client.post(url, json=CHAT)))


@use()
async def post_bytes(client, url):
    return facts(await value(client.post(url, content=json.dumps(CHAT).encode())))


@use()
async def post_a_stream_read_at_once(client, url):
    return facts(await value(client.post(url, json=STREAM)))


@use(records=0)
async def post_a_generator(client, url):
    body = in_pieces(CHAT, asynchronous=hasattr(client, "aclose"))
    return facts(await value(client.post(url, content=body)))


@use(Reply(body=b"{}"), records=0)
async def post_multipart(client, url):
    files = {"file": ("a.txt", b"hello", "text/plain")}
    headers = {"content-type": "multipart/form-data; boundary=fixed"}
    return facts(await value(client.post(url, files=files, data={"model": "m"}, headers=headers)))


@use(records=0)
async def post_elsewhere(client, url):
    return facts(await value(client.post(url.replace("chat/completions", "moderations"), json=CHAT)))


@use(records=0)
async def get(client, url):
    return facts(await value(client.get(url.replace("chat/completions", "models"))))


@use()
async def send_by_keyword(client, url):
    return facts(await value(client.send(request=client.build_request("POST", url, json=CHAT))))


@use()
async def send_a_stream_and_read(client, url):
    request = client.build_request("POST", url, json=STREAM)
    response = await value(client.send(request, stream=True))
    await value(response.aread() if hasattr(client, "aclose") else response.read())
    return facts(response)


def streaming(name):
    """
    Register the reading of a stream by one of the response's iterators.
    """

    async def run(client, url):
        async with opened(client.stream("POST", url, json=STREAM)) as response:
            before = facts_of_an_open(response)
            kind = f"a{name}" if hasattr(client, "aclose") else name
            return before, plain(await items(getattr(response, kind)())), facts_of_an_open(response)

    run.__name__ = f"stream_{name}"
    use()(run)


def facts_of_an_open(response):
    found = {"downloaded": response.num_bytes_downloaded, "closed": (response.is_closed, response.is_stream_consumed)}
    return {**found, "stream": type(response.stream).__qualname__, "attributes": sorted(vars(response))}


for iterator in ("iter_raw", "iter_bytes", "iter_text", "iter_lines"):
    streaming(iterator)


@use()
async def stream_twice(client, url):
    async with opened(client.stream("POST", url, json=STREAM)) as response:
        name = "aiter_bytes" if hasattr(client, "aclose") else "iter_bytes"
        await items(getattr(response, name)())
        return await items(getattr(response, name)())


@use(Reply(hold=NEVER, hold_at=3), status="cancelled", tokens=(None, None))
async def leave_a_stream_unread(client, url):
    async with opened(client.stream("POST", url, json=STREAM)) as response:
        return response.status_code


@use(Reply(hold=NEVER, hold_at=3), status="cancelled", tokens=(None, None))
async def leave_a_stream_amid(client, url):
    async with opened(client.stream("POST", url, json=STREAM)) as response:
        return plain(await first(response.aiter_lines() if hasattr(client, "aclose") else response.iter_lines()))


@use(Reply(hold=NEVER, hold_at=3), status="cancelled", tokens=(None, None))
async def drop_a_stream_unread(client, url):
    await value(client.send(client.build_request("POST", url, json=STREAM), stream=True))
    await collected(client)


@use(Reply(cut_after=3), status="error", tokens=(None, None))
async def stream_that_breaks(client, url):
    async with opened(client.stream("POST", url, json=STREAM)) as response:
        return await items(response.aiter_lines() if hasattr(client, "aclose") else response.iter_lines())


@use(Reply(hold=NEVER, hold_at=0), status="timeout", tokens=(None, None))
async def post_too_slow(client, url):
    return await value(client.post(url, json=CHAT, timeout=0.1))


@use(Reply(cut_after=0), status="error", tokens=(None, None))
async def post_to_a_closed_door(client, url):
    return await value(client.post(url, json=CHAT))


@use(Reply(status=429), status="rate_limited", tokens=(None, None))
async def post_too_often(client, url):
    response = await value(client.post(url, json=CHAT))
    return response.raise_for_status()


@use(Reply.redirect(PATH), Reply(usage=USAGE))
async def post_redirected(client, url):
    return facts(await value(client.post(url, json=CHAT, follow_redirects=True)))


@use(Reply.redirect(PATH), Reply(usage=USAGE))
async def stream_redirected(client, url):
    async with opened(client.stream("POST", url, json=STREAM, follow_redirects=True)) as response:
        return plain(await items(response.aiter_lines() if hasattr(client, "aclose") else response.iter_lines()))


def hooked(client, hook):
    """
    Put a response hook on a client that reads each answer and then calls `hook`.
    """

    def sync(response):
        response.read()
        hook(response)

    async def anew(response):
        await response.aread()
        hook(response)

    client.event_hooks = {"response": [anew if hasattr(client, "aclose") else sync]}


@use()
async def post_with_a_hook_that_reads(client, url):
    seen = []
    hooked(client, lambda response: seen.append(response.status_code))
    return facts(await value(client.post(url, json=CHAT))), seen


@use()
async def stream_with_a_hook_that_reads(client, url):
    hooked(client, lambda _: None)
    async with opened(client.stream("POST", url, json=STREAM)) as response:
        return plain(await items(response.aiter_lines() if hasattr(client, "aclose") else response.iter_lines()))


@use(status="error", tokens=(None, None))
async def post_with_a_hook_that_raises(client, url):
    def refuse(_):
        raise LookupError("the application's own")

    hooked(client, refuse)
    return await value(client.post(url, json=CHAT))


@use()
async def pickle_an_answer(client, url):
    response = await value(client.post(url, json=CHAT))
    again = pickle.loads(pickle.dumps(response))
    return again.status_code, plain(again.content), plain(dict(again.headers))


@use()
async def pickle_a_stream_that_was_read(client, url):
    async with opened(client.stream("POST", url, json=STREAM)) as response:
        await value(response.aread() if hasattr(client, "aclose") else response.read())
    again = pickle.loads(pickle.dumps(response))
    return again.status_code, plain(again.content)


@libraries
@both
@pytest.mark.parametrize(("run", "replies", "records", "told"), USES)
def test_use_is_unchanged_and_captured(run, replies, records, told, lib, asynchronous, server, telemetry):
    """
    Bare and captured, a use has the same result and sends the same bytes; captured, it is one record, or none.
    """

    def outcome():
        server.clear()
        server.default = replies[-1]
        server.queue("", *replies[:-1])
        result = drive(once(run, lib, server, asynchronous=asynchronous), asynchronous=asynchronous)
        return result, [request.wire for request in server.requests]

    otel_llm.uninstrument()
    bare = outcome()
    otel_llm.instrument()
    captured = outcome()
    found = [summary(record) for record in telemetry.records(records)]
    assert (captured, found) == (bare, [told] * records)


async def once(run, lib, server, *, asynchronous):
    async with opened(client_of(lib, asynchronous=asynchronous)) as client:
        try:
            return await run(client, server.url + PATH)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
            return chain(error)


def summary(record):
    tokens = record.get("gen_ai.usage.input_tokens"), record.get("gen_ai.usage.output_tokens")
    return {"status": record["otel_llm.status"], "tokens": tokens}


# --- Bodies on their way ---


@libraries
@both
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("way", ["post", "read", "iter_raw", "iter_bytes", "iter_lines"])
def test_compressed_body_is_read(way, encoding, lib, asynchronous, server, telemetry):
    """
    Whatever way a compressed answer is read, and wherever it is cut, its tokens are counted.
    """
    server.default = Reply(usage=USAGE, encoding=encoding, chunk_size=13)
    headers = {"accept-encoding": encoding}

    async def run():
        async with opened(client_of(lib, asynchronous=asynchronous, headers=headers)) as client:
            if way == "post":
                return (await value(client.post(server.url + PATH, json=CHAT))).content
            async with opened(client.stream("POST", server.url + PATH, json=STREAM)) as response:
                name = f"a{way}" if asynchronous else way
                if way == "read":
                    return await value(getattr(response, name)())
                return await items(getattr(response, name)())

    drive(run(), asynchronous=asynchronous)
    decoded = way != "post" or encoding in lib._decoders.SUPPORTED_DECODERS  # what the library read, it has to decode
    assert summary(telemetry.record()) == {"status": "success", "tokens": (1021, 37) if decoded else (None, None)}


@libraries
def test_unknown_encoding_counts_nothing(lib, server, telemetry):
    """
    An answer in a coding that nobody here knows is a call without usage, and no error.
    """
    server.default = Reply(headers={"content-encoding": "rot13"})
    with lib.Client() as client, client.stream("POST", server.url + PATH, json=CHAT) as response:
        response.read()
    record = telemetry.record()
    assert (record["otel_llm.status"], record["otel_llm.usage_source"]) == ("success", "absent")


@libraries
@both
def test_chunk_is_seen_before_the_next_is_sent(lib, asynchronous, server, telemetry):
    """
    A raw stream is as lazy as without us: its head and first lines are there while the rest is held back.
    """
    release = threading.Event()
    server.default = Reply(hold=release, hold_at=2)

    async def run():
        async with (
            opened(client_of(lib, asynchronous=asynchronous, timeout=5)) as client,
            opened(client.stream("POST", server.url + PATH, json=STREAM)) as response,
        ):
            lines = response.aiter_lines() if asynchronous else response.iter_lines()
            early = await value(lines.__anext__() if asynchronous else next(lines))
            unfinished = not server.requests[-1].finished
            release.set()
            return bool(early), unfinished, len(await items(lines)) > 5

    lazy = drive(run(), asynchronous=asynchronous)
    assert (lazy, telemetry.record()["otel_llm.status"]) == ((True, True, True), "success")


# --- Other transports, other clients ---


def answer(lib, *, streamed):
    """
    Give what a mock transport answers: a whole document, or server-sent events.
    """
    document = json.dumps({"id": "c-1", "model": "m", "choices": [], "usage": USAGE})
    if not streamed:
        return lib.Response(200, text=document, headers={"content-type": "application/json"})
    events = f"data: {document}\n\ndata: [DONE]\n\n"
    return lib.Response(200, text=events, headers={"content-type": "text/event-stream"})


@libraries
@both
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_mock_transport_is_captured(streamed, lib, asynchronous, telemetry):
    """
    An answer that never was on a wire is read, even when it is asked for as a stream.
    """
    transport = lib.MockTransport(lambda _: answer(lib, streamed=streamed))

    async def run():
        async with (
            opened(client_of(lib, asynchronous=asynchronous, transport=transport)) as client,
            opened(client.stream("POST", "https://api.groq.com/openai" + PATH, json=CHAT)) as response,
        ):
            return await items(response.aiter_lines() if asynchronous else response.iter_lines())

    drive(run(), asynchronous=asynchronous)
    record = telemetry.record()
    assert (summary(record)["tokens"], record["gen_ai.provider.name"]) == ((1021, 37), "groq")


@libraries
def test_mock_transport_with_a_generator_is_captured(lib, telemetry):
    """
    A mock answer that comes piece by piece is seen piece by piece.
    """
    events = answer(lib, streamed=True).content
    pieces = (events[at : at + 9] for at in range(0, len(events), 9))
    headers = {"content-type": "text/event-stream"}
    transport = lib.MockTransport(lambda _: lib.Response(200, content=pieces, headers=headers))
    url = "https://api.openai.com" + PATH
    with lib.Client(transport=transport) as client, client.stream("POST", url, json=CHAT) as response:
        list(response.iter_bytes())
    assert summary(telemetry.record()) == {"status": "success", "tokens": (1021, 37)}


@libraries
def test_application_in_the_same_process_is_captured(lib, telemetry):
    """
    Calls of an ASGI and of a WSGI application through the library's own transports are calls.
    """
    body = answer(lib, streamed=False).content

    async def asgi(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})

    def wsgi(_environ, start):
        start("200 OK", [("content-type", "application/json")])
        return [body]

    async def run():
        async with lib.AsyncClient(transport=lib.ASGITransport(asgi), base_url="http://app") as client:
            return (await client.post(PATH, json=CHAT)).content

    with lib.Client(transport=lib.WSGITransport(wsgi), base_url="http://app") as client:
        answers = client.post(PATH, json=CHAT).content, asyncio.run(run())
    assert (answers, [summary(record)["tokens"] for record in telemetry.records(2)]) == ((body, body), [(1021, 37)] * 2)


@libraries
def test_module_functions_are_captured(lib, server, telemetry):
    """
    `httpx.post` and `httpx.stream` make a client of their own, which is captured like any other.
    """
    server.default = Reply(usage=USAGE)
    lib.post(server.url + PATH, json=CHAT)
    with lib.stream("POST", server.url + PATH, json=STREAM) as response:
        list(response.iter_lines())
    assert [summary(record)["tokens"] for record in telemetry.records(2)] == [(1021, 37)] * 2


@libraries
def test_client_that_overrides_send_is_captured_once(lib, server, telemetry):
    """
    A subclass that sends by `super().send`, even by way of another client, makes one call.
    """
    inner = lib.Client()

    class Forwarding(lib.Client):
        def send(self, request, **options):
            return super().send(request, **options) if "x-direct" in request.headers else inner.send(request, **options)

    with inner, Forwarding() as client:
        client.post(server.url + PATH, json=CHAT)
        client.post(server.url + PATH, json=CHAT, headers={"x-direct": "1"})
    assert len(telemetry.records(2)) == 2


@libraries
def test_client_inside_a_send_is_captured_once(lib, server, telemetry):
    """
    A transport that sends by another captured client is part of the outer call.
    """
    other = httpx if lib is httpx2 else httpx2

    class Bridge(lib.BaseTransport):
        def handle_request(self, request):
            found = other.post(str(request.url), content=request.read(), headers={"content-type": "application/json"})
            return lib.Response(found.status_code, content=found.content)

    server.default = Reply(usage=USAGE)
    with lib.Client(transport=Bridge()) as client:
        client.post(server.url + PATH, json=CHAT)
    assert summary(telemetry.record())["tokens"] == (1021, 37)


@libraries
def test_authentication_challenge_is_one_attempt(lib, server, telemetry):
    """
    What the library sends twice for one `send` is one attempt, as it is one for the application.
    """
    challenge = 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'
    server.queue(PATH, Reply(status=401, headers={"www-authenticate": challenge}))
    lib.post(server.url + PATH, json=CHAT, auth=lib.DigestAuth("u", "p"))
    assert (len(server.requests), telemetry.record()["otel_llm.attempts"]) == (2, 1)


# --- Where a stream ends ---


@libraries
def test_stream_may_end_on_another_thread(lib, server, telemetry):
    """
    A stream that another thread reads to its end is one call of the thread that asked.
    """
    server.default = Reply(usage=USAGE)
    with lib.Client() as client, client.stream("POST", server.url + PATH, json=STREAM) as response:
        reader = threading.Thread(target=lambda: list(response.iter_bytes()))
        reader.start()
        reader.join()
    assert summary(telemetry.record()) == {"status": "success", "tokens": (1021, 37)}


@libraries
async def test_stream_may_end_in_another_task(lib, server, telemetry):
    """
    A stream that another task reads to its end is one call of the task that asked.
    """
    server.default = Reply(usage=USAGE)
    async with lib.AsyncClient() as client, client.stream("POST", server.url + PATH, json=STREAM) as response:
        await asyncio.create_task(response.aread())
    assert summary(telemetry.record()) == {"status": "success", "tokens": (1021, 37)}


@libraries
async def test_cancelled_send_is_cancelled(lib, server, telemetry):
    """
    A request that `wait_for` gives up is a cancelled call without an error, and the application sees its own timeout.
    """
    server.default = Reply(hold=NEVER, hold_at=0)
    async with lib.AsyncClient() as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.post(server.url + PATH, json=CHAT), 0.1)
    record = telemetry.record()
    assert (record["otel_llm.status"], "error.type" in record) == ("cancelled", False)


@libraries
async def test_cancelled_read_is_cancelled(lib, server, telemetry):
    """
    A stream whose reader is cancelled is a cancelled call, and its connection is closed.
    """
    server.default = Reply(hold=NEVER, hold_at=3)
    async with lib.AsyncClient() as client:
        response = await client.send(client.build_request("POST", server.url + PATH, json=STREAM), stream=True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(response.aread(), 0.1)
        await asyncio.to_thread(server.wait_for, lambda seen: seen.requests[-1].closed_early)
    assert summary(telemetry.record())["status"] == "cancelled"


@libraries
def test_nothing_is_recorded_inside_the_garbage_collector(lib, server, telemetry, monkeypatch):
    """
    The collector may run under any lock of anybody: the calls whose streams it finds are recorded on another thread.
    """
    recorded_on = []
    ended = Pipeline.ended
    monkeypatch.setattr(Pipeline, "ended", lambda *args: (recorded_on.append(threading.get_ident()), ended(*args)))

    def drop(client):
        request = client.build_request("POST", server.url + PATH, json=STREAM)
        response = client.send(request, stream=True)
        cycle = [response.iter_lines(), response]
        next(cycle[0])
        cycle.append(cycle)

    with contextlib.ExitStack() as clients:
        # One client each: httpcore waits for itself for ever when the collector finds a stream of the pool in use.
        for _ in range(5):
            drop(clients.enter_context(lib.Client()))
        gc.collect()
        telemetry.records(5)
    assert threading.get_ident() not in recorded_on


# --- Taking part and leaving ---


@libraries
@pytest.mark.usefixtures("telemetry")
def test_wrapped_send_looks_like_the_librarys(lib):
    """
    Signature, name and kind of `send` are those that inspection shows without us.
    """

    def looks():
        return [
            (inspect.signature(kind.send), kind.send.__qualname__, inspect.iscoroutinefunction(kind.send))
            for kind in (lib.Client, lib.AsyncClient)
        ]

    captured = looks()
    otel_llm.uninstrument()
    assert captured == looks()


@libraries
def test_wrapper_of_somebody_else_stays(lib, server, telemetry, monkeypatch):
    """
    What was wrapped around `send` after us outlives us, and is captured once when we come back.
    """
    inner, seen = lib.Client.send, []

    @functools.wraps(inner)
    def theirs(*args, **kwargs):
        seen.append(args)
        return inner(*args, **kwargs)

    monkeypatch.setattr(lib.Client, "send", theirs)
    otel_llm.uninstrument()
    lib.post(server.url + PATH, json=CHAT)
    silent = len(telemetry.records())
    otel_llm.instrument()
    lib.post(server.url + PATH, json=CHAT)
    assert (len(seen), silent, len(telemetry.records(1))) == (2, 0, 1)


def test_alias_is_wrapped_once(tmp_path):
    """
    After `alias_httpx()` httpx is httpx2, and one call is still one record.
    """
    program = f"""
import json, os, httpx2
httpx2.alias_httpx()
import httpx, otel_llm
from opentelemetry import _logs
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
exporter, provider = InMemoryLogRecordExporter(), LoggerProvider()
provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
_logs.set_logger_provider(provider)
otel_llm.configure()
assert httpx.Client is httpx2.Client
httpx.post(os.environ["URL"], json={CHAT!r})
print(len(exporter.get_finished_logs()), httpx2.Client.send.__wrapped__.__module__)
"""
    with ProviderServer() as server:
        run = subprocess.run(
            [sys.executable, "-c", program],
            env={"URL": server.url + PATH, "NO_PROXY": "127.0.0.1", "XDG_STATE_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert (run.stdout.strip(), run.stderr) == ("1 httpx2._client", "")
