"""
The request methods of provider SDKs as operations: all that one of them sends is one call.
"""

import asyncio
import contextvars
import functools
import inspect
import threading

import anthropic
import groq
import httpx2
import openai
import pytest

import otel_llm
from otel_llm.capture.observer import scope, scope_async
from otel_llm.pipeline import current
from otel_llm.testing import Reply

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}


def _observer():
    return current().observer


@pytest.fixture
def post(server, telemetry):  # noqa: ARG001 - the SDK below is captured
    """
    Give what a hand-made SDK sends with: the raw client, which is captured.
    """
    with httpx2.Client(base_url=server.url) as client:
        yield lambda **options: client.post("/v1/chat/completions", json=CHAT, **options)


def attempts(telemetry, count):
    return [record["otel_llm.attempts"] for record in telemetry.records(count)]


@pytest.mark.usefixtures("telemetry")
@pytest.mark.parametrize("sdk", [openai, anthropic, groq], ids=lambda sdk: sdk.__name__)
def test_wrapped_method_looks_like_the_sdks(sdk):
    """
    Signature, name and kind of the request methods are those that inspection shows without us.
    """

    def looks():
        kinds = (sdk._base_client.SyncAPIClient, sdk._base_client.AsyncAPIClient)
        return [
            (inspect.signature(kind.request), kind.request.__qualname__, inspect.iscoroutinefunction(kind.request))
            for kind in kinds
        ]

    captured = looks()
    otel_llm.uninstrument()
    assert captured == looks()


def test_all_that_a_method_sends_is_one_call(post, server, telemetry):
    """
    Requests that fail and are sent again inside the method are attempts of one call.
    """
    server.queue("", Reply(status=500), Reply(status=429))

    def request():
        return [post().status_code for _ in range(3)]

    assert (scope(_observer, request)(), attempts(telemetry, 1)) == ([500, 429, 200], [3])


def test_methods_that_call_themselves_are_one_call(post, server, telemetry):
    """
    An SDK that retries by recursion is in one operation, the outermost.
    """
    server.queue("", Reply(status=500), Reply(status=500))

    def request():
        return wrapped() if post().status_code == 500 else "done"

    wrapped = scope(_observer, request)
    assert (wrapped(), attempts(telemetry, 1)) == ("done", [3])


def test_answer_that_ended_well_ends_the_call(post, telemetry):
    """
    What a method sends after a success is another call.
    """

    def request():
        post()
        post()

    scope(_observer, request)()
    assert attempts(telemetry, 2) == [1, 1]


def test_answer_left_open_is_given_up_by_the_next_attempt(server, telemetry):
    """
    An SDK that retries a stream without closing the answer it gives up has made two attempts.
    """
    server.queue("", Reply(status=429))
    with httpx2.Client(base_url=server.url) as client:

        def request():
            sent = [
                client.send(client.build_request("POST", "/v1/chat/completions", json=CHAT), stream=True)
                for _ in range(2)
            ]
            return sent[::-1]

        kept = scope(_observer, request)()
        for response in kept:
            response.read()
    assert attempts(telemetry, 1) == [2]


def test_method_without_a_call_leaves_nothing(server, telemetry):
    """
    A method that sends nothing of ours, or nothing at all, makes no record, also when it raises.
    """

    def request(path):
        httpx2.get(server.url + path).raise_for_status()

    wrapped = scope(_observer, request)
    wrapped("/v1/models")
    with pytest.raises(httpx2.HTTPStatusError):
        wrapped("/v1/nothing")
    assert telemetry.records() == []


def test_method_that_raises_ends_the_call_with_its_error(post, server, telemetry):
    """
    What the SDK raises after its last attempt is the call's error.
    """
    server.default = Reply(status=500)

    def request():
        post()
        raise LookupError("gone")

    with pytest.raises(LookupError):
        scope(_observer, request)()
    record = telemetry.record()
    assert (record["otel_llm.status"], record["exception.type"]) == ("error", "LookupError")


def test_thread_that_shares_the_context_makes_attempts(post, server, telemetry):
    """
    A method that sends in another thread, with its own context copied there, makes attempts of its call.
    """
    server.queue("", Reply(status=500))

    def request():
        post()
        context = contextvars.copy_context()
        worker = threading.Thread(target=context.run, args=(post,))
        worker.start()
        worker.join()

    scope(_observer, request)()
    assert attempts(telemetry, 1) == [2]


async def test_async_methods_side_by_side_are_calls_of_their_own(server, telemetry):
    """
    Each of several tasks is in an operation of its own.
    """
    server.queue("", *[Reply(status=500)] * 5)

    async def request(client):
        for _ in range(10):
            response = await client.post("/v1/chat/completions", json=CHAT)
            if response.status_code == 200:
                return

    wrapped = scope_async(_observer, request)
    async with httpx2.AsyncClient(base_url=server.url) as client:
        await asyncio.gather(*(wrapped(client) for _ in range(5)))
    assert sum(attempts(telemetry, 5)) == 10


async def test_call_in_a_task_started_by_a_method_is_its_own_after_it(server, telemetry):
    """
    A task that a method leaves behind makes calls of its own, once the method's call has ended.
    """
    left = []

    async def request(client):
        ended = asyncio.Event()

        async def later():
            await ended.wait()
            await client.post("/v1/chat/completions", json=CHAT)

        left.append(asyncio.create_task(later()))
        await client.post("/v1/chat/completions", json=CHAT)
        ended.set()

    async with httpx2.AsyncClient(base_url=server.url) as client:
        await scope_async(_observer, request)(client)
        await asyncio.gather(*left)
    assert attempts(telemetry, 2) == [1, 1]


def test_switching_off_in_mid_stream_harms_nobody(server, telemetry):
    """
    A stream that is open when capturing is switched off is read to its end by the application.
    """
    with openai.OpenAI(base_url=server.openai_url, api_key="k") as client:
        stream = iter(client.chat.completions.create(**CHAT, stream=True))
        first = next(stream)
        otel_llm.shutdown()
        rest = list(stream)
    assert (bool(first.id), len(rest) > 5, len(telemetry.records(1))) == (True, True, 1)


def test_wrapper_of_somebody_else_stays(server, telemetry, monkeypatch):
    """
    What was wrapped around an SDK's method after us outlives us, and is captured once when we come back.
    """
    kind, seen = openai._base_client.SyncAPIClient, []
    inner = kind.request

    @functools.wraps(inner)
    def theirs(*args, **kwargs):
        seen.append(args)
        return inner(*args, **kwargs)

    monkeypatch.setattr(kind, "request", theirs)
    with openai.OpenAI(base_url=server.openai_url, api_key="k") as client:
        otel_llm.uninstrument()
        client.chat.completions.create(**CHAT)
        silent = len(telemetry.records())
        otel_llm.instrument()
        client.chat.completions.create(**CHAT)
    assert (len(seen), silent, attempts(telemetry, 1)) == (2, 0, [1])
