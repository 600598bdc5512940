"""
What applications do with provider SDKs, and what becomes of it: one table for all contract tests.

A call is written once, as a coroutine function, and runs with the sync and with the async client of its SDK. Its row
says what the provider answers and what a record has to tell.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from threading import Event
from typing import Any

import anthropic
import groq
import openai
import pydantic
from either import closed, collected, first, items, opened, value

from otel_llm.testing import Reply, error_after, malformed_after

NEVER = Event()
"""Is not set: an answer that is held by it ends when the client hangs up."""

CHAT_USAGE = {
    "prompt_tokens": 1021,
    "completion_tokens": 37,
    "total_tokens": 1058,
    "prompt_tokens_details": {"cached_tokens": 512},
    "completion_tokens_details": {"reasoning_tokens": 11},
}
PLAIN_USAGE = {"prompt_tokens": 1021, "completion_tokens": 37, "total_tokens": 1058}
RESPONSES_USAGE = {
    "input_tokens": 1021,
    "output_tokens": 37,
    "total_tokens": 1058,
    "input_tokens_details": {"cached_tokens": 512},
    "output_tokens_details": {"reasoning_tokens": 11},
}
CLAUDE_USAGE = {
    "input_tokens": 9,
    "cache_read_input_tokens": 512,
    "cache_creation_input_tokens": 500,
    "output_tokens": 37,
}
"""Scripted usages; every one of them comes to 1021 tokens in and 37 out."""

MESSAGES = [{"role": "user", "content": "Will it rain in Lisbon?"}]
CHAT = {"model": "gpt-4o-mini", "messages": MESSAGES}
CLAUDE = {"model": "claude-haiku-5-5", "max_tokens": 100, "messages": MESSAGES}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "forecast", "parameters": PARAMETERS}}
CLAUDE_TOOL = {"name": "forecast", "input_schema": PARAMETERS}
COUNTED = {"include_usage": True}


class Forecast(pydantic.BaseModel):
    """
    What a structured answer is parsed into.
    """

    city: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SdkCall:
    """
    One thing an application does.
    """

    sdk: str
    run: Callable[[Any], Awaitable[Any]]
    replies: tuple[Reply, ...]
    """How the provider answers its requests, in order; the last one answers all that follow."""
    records: int = 1
    operation: str = "chat"
    status: str | None = "success"
    attempts: int = 1
    counted: bool = True
    """Whether the answer tells its usage."""
    cut_short: bool = False
    """Whether the answer ends amid; Anthropic tells the prompt's tokens at its start."""
    hangs_up: bool = False
    """Whether the provider sees the connection close before its answer is out."""

    def __str__(self) -> str:
        return f"{self.sdk}-{self.run.__name__}"


CALLS: list[SdkCall] = []


def call(*sdks: str, replies: tuple[Reply, ...] = (), usage: dict[str, object] | None = CHAT_USAGE, **expected: Any):
    """
    Put a coroutine function into the table, once for each SDK.
    """

    def register(run: Any) -> Any:
        answers = replies or (Reply(usage=usage),)
        CALLS.extend(SdkCall(sdk=sdk, run=run, replies=answers, **expected) for sdk in sdks)
        return run

    return register


claude = "anthropic"
stainless = ("openai", "groq")


def client_of(sdk: str, server: Any, *, asynchronous: bool) -> Any:
    """
    Give an SDK's client as an application makes it, pointed at the server on this machine.
    """
    kind, url = {
        ("openai", False): (openai.OpenAI, server.openai_url),
        ("openai", True): (openai.AsyncOpenAI, server.openai_url),
        ("anthropic", False): (anthropic.Anthropic, server.url),
        ("anthropic", True): (anthropic.AsyncAnthropic, server.url),
        ("groq", False): (groq.Groq, server.url),
        ("groq", True): (groq.AsyncGroq, server.url),
    }[sdk, asynchronous]
    return kind(base_url=url, api_key="k")


# --- Chat: OpenAI, and Groq in the same shape ---


@call(*stainless)
async def chat(client):
    return await value(client.chat.completions.create(**CHAT))


@call(*stainless, counted=False)
async def chat_stream(client):
    return await items(client.chat.completions.create(**CHAT, stream=True))


@call("openai")
async def chat_stream_with_usage(client):
    return await items(client.chat.completions.create(**CHAT, stream=True, stream_options=COUNTED))


@call("openai", replies=(Reply(usage=CHAT_USAGE, chunk_size=7),))
async def chat_stream_in_small_pieces(client):
    return await items(client.chat.completions.create(**CHAT, stream=True, stream_options=COUNTED))


@call("openai")
async def chat_stream_in_a_block(client):
    async with opened(await value(client.chat.completions.create(**CHAT, stream=True, stream_options=COUNTED))) as it:
        return await items(it)


@call(*stainless)
async def chat_with_tools(client):
    return await value(client.chat.completions.create(**CHAT, tools=[TOOL]))


@call("openai", counted=False)
async def chat_with_tools_streamed(client):
    return await items(client.chat.completions.create(**CHAT, tools=[TOOL], stream=True))


@call("openai")
async def chat_with_choices(client):
    return await value(client.chat.completions.create(**CHAT, n=3, temperature=0.3, user="u-1", seed=7))


@call("openai")
async def chat_parsed(client):
    return await value(client.chat.completions.parse(**CHAT, response_format=Forecast))


@call("openai")
async def chat_stream_helper(client):
    async with opened(client.chat.completions.stream(**CHAT, stream_options=COUNTED)) as stream:
        return await items(stream), await value(stream.get_final_completion())


@call("openai")
async def chat_stream_helper_until_done(client):
    async with opened(client.chat.completions.stream(**CHAT, stream_options=COUNTED)) as stream:
        await value(stream.until_done())
        return await value(stream.get_final_completion())


@call("openai")
async def chat_from_a_generator(client):
    return await value(client.chat.completions.create(model="gpt-4o-mini", messages=(m for m in MESSAGES)))


@call("openai")
async def chat_with_own_headers(client):
    headers = {"x-user-id": "u-7", "X-Mixed-Case": "kept"}
    return await value(client.chat.completions.create(**CHAT, extra_headers=headers, extra_body={"top_k": 3}))


@call(*stainless)
async def chat_raw(client):
    raw = await value(client.chat.completions.with_raw_response.create(**CHAT))
    return raw.status_code, dict(raw.headers), await value(raw.parse())


@call("openai", counted=False)
async def chat_raw_stream(client):
    raw = await value(client.chat.completions.with_raw_response.create(**CHAT, stream=True))
    return await items(await value(raw.parse()))


@call(*stainless)
async def chat_streaming_response_read(client):
    async with opened(client.chat.completions.with_streaming_response.create(**CHAT)) as response:
        return response.status_code, await value(response.read())


@call("openai")
async def chat_streaming_response_json(client):
    async with opened(client.chat.completions.with_streaming_response.create(**CHAT)) as response:
        return await value(response.json())


@call("openai")
async def chat_streaming_response_parsed(client):
    async with opened(client.chat.completions.with_streaming_response.create(**CHAT)) as response:
        return await value(response.parse())


@call("openai")
async def chat_streaming_response_lines(client):
    create = client.chat.completions.with_streaming_response.create
    async with opened(create(**CHAT, stream=True, stream_options=COUNTED)) as response:
        return await items(response.iter_lines())


@call("openai")
async def chat_streaming_response_bytes(client):
    create = client.chat.completions.with_streaming_response.create
    async with opened(create(**CHAT, stream=True, stream_options=COUNTED)) as response:
        return b"".join(await items(response.iter_bytes()))


@call("openai", status="cancelled", counted=False, replies=(Reply(hold=NEVER, hold_at=3),), hangs_up=True)
async def chat_streaming_response_unread(client):
    create = client.chat.completions.with_streaming_response.create
    async with opened(create(**CHAT, stream=True)) as response:
        return response.status_code


# --- OpenAI's other interfaces ---


@call("openai", usage=RESPONSES_USAGE)
async def responses(client):
    return await value(client.responses.create(model="gpt-5.4-nano", input="Will it rain?"))


@call("openai", usage=RESPONSES_USAGE)
async def responses_stream(client):
    return await items(client.responses.create(model="gpt-5.4-nano", input="Will it rain?", stream=True))


@call("openai", usage=RESPONSES_USAGE)
async def responses_stream_helper(client):
    async with opened(client.responses.stream(model="gpt-5.4-nano", input="Will it rain?")) as stream:
        return await items(stream), await value(stream.get_final_response())


@call("openai", usage=RESPONSES_USAGE)
async def responses_parsed(client):
    return await value(client.responses.parse(model="gpt-5.4-nano", input="Will it rain?", text_format=Forecast))


@call("openai", usage=RESPONSES_USAGE)
async def responses_raw(client):
    raw = await value(client.responses.with_raw_response.create(model="gpt-5.4-nano", input="Will it rain?"))
    return await value(raw.parse())


@call("openai", operation="embeddings", usage={"prompt_tokens": 1021, "total_tokens": 1021})
async def embeddings(client):
    return await value(client.embeddings.create(model="text-embedding-3-small", input=["sun", "rain"], dimensions=8))


@call("openai", operation="embeddings", usage={"prompt_tokens": 1021, "total_tokens": 1021})
async def embeddings_as_floats(client):
    create = client.embeddings.create
    return await value(create(model="text-embedding-3-small", input="sun", dimensions=8, encoding_format="float"))


@call("openai", operation="text_completion", usage=PLAIN_USAGE)
async def completions(client):
    return await value(client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Once"))


@call("openai", operation="text_completion", usage=PLAIN_USAGE)
async def completions_stream(client):
    create = client.completions.create
    return await items(create(model="gpt-3.5-turbo-instruct", prompt="Once", stream=True, stream_options=COUNTED))


@call(*stainless, records=0)
async def models(client):
    return await items(client.models.list())


# --- Anthropic ---


@call(claude, usage=CLAUDE_USAGE)
async def messages(client):
    return await value(client.messages.create(**CLAUDE))


@call(claude, usage=CLAUDE_USAGE)
async def messages_with_tools(client):
    return await value(client.messages.create(**CLAUDE, tools=[CLAUDE_TOOL], system="Be brief."))


@call(claude, usage=CLAUDE_USAGE)
async def messages_stream(client):
    return await items(client.messages.create(**CLAUDE, stream=True))


@call(claude, replies=(Reply(usage=CLAUDE_USAGE, chunk_size=5),))
async def messages_stream_in_small_pieces(client):
    return await items(client.messages.create(**CLAUDE, stream=True))


@call(claude, usage=CLAUDE_USAGE)
async def messages_stream_helper(client):
    async with opened(client.messages.stream(**CLAUDE)) as stream:
        return await items(stream), await value(stream.get_final_message())


@call(claude, usage=CLAUDE_USAGE)
async def messages_stream_helper_text(client):
    async with opened(client.messages.stream(**CLAUDE)) as stream:
        return await items(stream.text_stream)


@call(claude, usage=CLAUDE_USAGE)
async def messages_stream_helper_with_tools(client):
    async with opened(client.messages.stream(**CLAUDE, tools=[CLAUDE_TOOL])) as stream:
        return await value(stream.get_final_message())


@call(claude, usage=CLAUDE_USAGE)
async def beta_messages(client):
    return await value(client.beta.messages.create(**CLAUDE, betas=["files-api-2025-04-14"]))


@call(claude, usage=CLAUDE_USAGE)
async def beta_messages_stream(client):
    return await items(client.beta.messages.create(**CLAUDE, stream=True))


@call(claude, usage=CLAUDE_USAGE)
async def beta_messages_stream_helper(client):
    async with opened(client.beta.messages.stream(**CLAUDE)) as stream:
        return await value(stream.get_final_message())


@call(claude, usage=CLAUDE_USAGE)
async def messages_raw(client):
    raw = await value(client.messages.with_raw_response.create(**CLAUDE))
    return raw.status_code, dict(raw.headers), await value(raw.parse())


@call(claude, usage=CLAUDE_USAGE)
async def messages_streaming_response_lines(client):
    async with opened(client.messages.with_streaming_response.create(**CLAUDE, stream=True)) as response:
        return await items(response.iter_lines())


@call(claude, records=0, usage=None)
async def count_tokens(client):
    return await value(client.messages.count_tokens(model="claude-haiku-5-5", messages=MESSAGES))


# --- What goes wrong, in every SDK ---


async def ask(client: Any, **more: Any) -> Any:
    """
    Make an SDK's plain call.
    """
    if hasattr(client, "messages"):
        return await value(client.messages.create(**CLAUDE, **more))
    return await value(client.chat.completions.create(**CHAT, **more))


every = ("openai", "anthropic", "groq")
LIMITED = Reply.rate_limited()


def retried(*before: Reply, sdks: tuple[str, ...] = every) -> Callable[[Any], Any]:
    """
    Register a call that succeeds after these answers.
    """

    def register(run: Any) -> Any:
        for sdk in sdks:
            usage = CLAUDE_USAGE if sdk == claude else CHAT_USAGE
            counted = sdk == claude or "stream" not in run.__name__
            call(sdk, replies=(*before, Reply(usage=usage)), attempts=len(before) + 1, counted=counted)(run)
        return run

    return register


def failing(*replies: Reply, **expected: Any) -> Any:
    """
    Register a call that tells no usage.
    """
    return call(*every, replies=replies, **{"status": "error", "counted": False, **expected})


@retried(LIMITED)
async def retry_after_rate_limit(client):
    return await ask(client)


@retried(LIMITED, LIMITED)
async def retry_twice(client):
    return await ask(client)


@retried(Reply(status=500, headers={"retry-after-ms": "10"}))
async def retry_after_server_error(client):
    return await ask(client)


@retried(LIMITED)
async def retry_streamed(client):
    return await items(ask(client, stream=True))


@retried(Reply(cut_after=0), sdks=("openai",))  # the SDKs wait half a second before
async def retry_after_lost_connection(client):
    return await ask(client)


@failing(LIMITED, status="rate_limited", attempts=3)
async def rate_limited(client):
    return await ask(client)


@failing(LIMITED, status="rate_limited", attempts=3)
async def rate_limited_streamed(client):
    return await items(ask(client, stream=True))


@failing(LIMITED, status="rate_limited")
async def rate_limited_without_retries(client):
    return await ask(client.with_options(max_retries=0))


@failing(Reply(status=401))
async def unauthorized(client):
    return await ask(client)


@failing(Reply(status=401))
async def unauthorized_streamed(client):
    return await items(ask(client, stream=True))


@failing(Reply(status=404))
async def not_found(client):
    return await ask(client)


@failing(Reply(status=500))
async def server_error(client):
    return await ask(client.with_options(max_retries=0))


@failing(Reply(hold=NEVER, hold_at=0), status="timeout")
async def timeout(client):
    return await ask(client.with_options(max_retries=0, timeout=0.1))


@call("openai", replies=(Reply(hold=NEVER, hold_at=0),), status="timeout", attempts=2, counted=False)
async def timeout_with_a_retry(client):
    return await ask(client.with_options(max_retries=1, timeout=0.1))


@failing(Reply(hold=NEVER, hold_at=4), status="timeout", hangs_up=True, cut_short=True)
async def timeout_amid_a_stream(client):
    return await items(ask(client.with_options(timeout=0.1), stream=True))


@failing(Reply(cut_after=0))
async def connection_closed(client):
    return await ask(client.with_options(max_retries=0))


@failing(Reply(cut_after=4), cut_short=True)
async def stream_cut(client):
    return await items(ask(client, stream=True))


@failing(Reply(cut_after=4, reset=True), cut_short=True)
async def stream_reset(client):
    return await items(ask(client, stream=True))


@call("openai", "groq", replies=(Reply(edit=malformed_after(3)),), status="cancelled", counted=False)
@call(claude, replies=(Reply(edit=malformed_after(3), usage=CLAUDE_USAGE),))  # its SDK hands on what it cannot read
async def malformed_frame(client):
    return await items(ask(client, stream=True))


@failing(Reply(edit=error_after(3)), cut_short=True)
async def error_amid_a_stream(client):
    return await items(ask(client, stream=True))


@failing(Reply(body=b"{ this is no JSON"))
async def malformed_body(client):
    return await ask(client.with_options(max_retries=0))


@failing(Reply(body=b'{"unexpected": [1, 2, 3]}'), status="success")
async def unexpected_body(client):
    return await ask(client)


@failing(Reply(body=b""), status="error")
async def empty_body(client):
    return await ask(client)


# --- Streams that are let go of ---

HELD = Reply(hold=NEVER, hold_at=5)


def abandoning(*, cut_short: bool) -> Any:
    """
    Register a call that leaves its stream, amid or unread, while the provider is still at it.
    """
    return failing(HELD, status="cancelled", hangs_up=True, cut_short=cut_short)


@abandoning(cut_short=True)
async def close_amid(client):
    stream = await ask(client, stream=True)
    found = await first(stream, 2)
    await closed(stream)
    return found


@abandoning(cut_short=False)
async def close_unread(client):
    stream = await ask(client, stream=True)
    await closed(stream)


@abandoning(cut_short=True)
async def leave_the_block_amid(client):
    async with opened(await ask(client, stream=True)) as stream:
        return await first(stream, 2)


@abandoning(cut_short=True)
async def raise_in_the_block(client):
    async with opened(await ask(client, stream=True)) as stream:
        await first(stream, 2)
        raise LookupError("the application's own")


@abandoning(cut_short=True)
async def drop_amid(client):
    stream = await ask(client, stream=True)
    found = await first(stream, 2)
    del stream
    await collected(client)
    return found


@failing(HELD, status="cancelled")
async def drop_unread(client):
    stream = await ask(client, stream=True)
    del stream
    await collected(client)
