import asyncio
import json
import socket
import subprocess
import sys
import threading

import anthropic
import httpx2
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_llm.delivery.sink import DELIVERED, Batch, Receipt, Record, Rejected, Retry, Sink
from otel_llm.telemetry.event import Event
from otel_llm.testing import ProviderServer, RecordingOptions, RecordingSink, Reply, error_after, malformed_after

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
CLAUDE = {"model": "claude-haiku-5-5", "max_tokens": 2000, "messages": [{"role": "user", "content": "hi"}]}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.fixture
def server():
    with ProviderServer() as running:
        yield running


@pytest.fixture
def gpt(server):
    with openai.OpenAI(base_url=server.openai_url, api_key="k") as client:
        yield client


@pytest.fixture
def claude(server):
    with anthropic.Anthropic(base_url=server.url, api_key="k") as client:
        yield client


@pytest.fixture
def http(server):
    with httpx2.Client(base_url=server.url) as client:
        yield client


class TestOpenAI:
    def test_chat_tells_usage_that_adds_up(self, gpt):
        """
        A chat completion counts prompt and answer, and their sum.
        """
        usage = gpt.chat.completions.create(**CHAT).usage
        assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 12

    def test_each_choice_is_asked_for(self, gpt):
        """
        `n` choices come back as `n` choices, whole and streamed.
        """
        whole = gpt.chat.completions.create(**CHAT, n=3)
        streamed = list(gpt.chat.completions.create(**CHAT, n=3, stream=True))
        assert {choice.index for choice in whole.choices} == {part.choices[0].index for part in streamed} == {0, 1, 2}

    def test_stream_counts_only_when_asked(self, gpt):
        """
        A stream ends with its usage if and only if `include_usage` was set.
        """
        asked = list(gpt.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True}))
        silent = list(gpt.chat.completions.create(**CHAT, stream=True))
        assert (asked[-1].usage.completion_tokens, silent[-1].usage) == (12, None)

    def test_first_tool_is_called_until_it_has_answered(self, gpt):
        """
        A chat with tools calls the first one with arguments of its schema, then speaks.
        """
        tool = {"type": "function", "function": {"name": "forecast", "parameters": SCHEMA}}
        messages = [*CHAT["messages"]]
        asked = gpt.chat.completions.create(model="gpt-4o", messages=messages, tools=[tool]).choices[0]
        call = asked.message.tool_calls[0]
        messages += [asked.message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
        said = gpt.chat.completions.create(model="gpt-4o", messages=messages, tools=[tool]).choices[0]
        assert (json.loads(call.function.arguments), said.finish_reason) == ({"city": "Lisbon"}, "stop")

    def test_reasoning_models_count_their_thinking(self, gpt):
        """
        Reasoning tokens are a part of the completion tokens of a reasoning model.
        """
        usage = gpt.chat.completions.create(**{**CHAT, "model": "o3"}).usage
        assert (usage.completion_tokens, usage.completion_tokens_details.reasoning_tokens) == (76, 64)

    def test_long_prompts_come_from_the_cache(self, gpt):
        """
        From 1024 tokens on, whole blocks of a prompt are reported as cached.
        """
        usage = gpt.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x" * 8000}]).usage
        assert 0 < usage.prompt_tokens_details.cached_tokens < usage.prompt_tokens

    def test_structured_answers_fit_their_schema(self, gpt):
        """
        An answer for which a JSON schema was given has its shape.
        """
        wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
        answer = gpt.chat.completions.create(**CHAT, response_format=wanted)
        assert json.loads(answer.choices[0].message.content) == {"city": "Lisbon"}

    def test_background_response_is_fetched_when_finished(self, gpt):
        """
        A background response is queued without usage; fetching it gives the finished one.
        """
        queued = gpt.responses.create(model="gpt-4o", input="hi", background=True)
        fetched = gpt.responses.retrieve(queued.id)
        assert (queued.status, queued.usage, fetched.status) == ("queued", None, "completed")
        assert fetched.usage.output_tokens == 12

    def test_responses_stream_ends_completed(self, gpt):
        """
        The SDK's own accumulation of a streamed response gives the words of the whole one.
        """
        whole = gpt.responses.create(model="o3", input="hi").output_text
        with gpt.responses.stream(model="o3", input="hi") as stream:
            assert stream.get_final_response().output_text == whole

    def test_embeddings_have_the_dimensions_asked_for(self, gpt):
        """
        Each input gets a vector of the asked length, in base64 as the SDK wants it.
        """
        answer = gpt.embeddings.create(model="text-embedding-3-small", input=["a", "b"], dimensions=8)
        assert [len(item.embedding) for item in answer.data] == [8, 8]

    def test_legacy_completions_answer(self, gpt):
        """
        The legacy endpoint speaks whole and streamed alike.
        """
        ask = {"model": "gpt-3.5-turbo-instruct", "prompt": "hi"}
        streamed = gpt.completions.create(**ask, stream=True)
        assert gpt.completions.create(**ask).choices[0].text == "".join(part.choices[0].text for part in streamed)

    def test_azure_path_names_the_model(self, server):
        """
        In an Azure path the deployment answers.
        """
        with openai.AzureOpenAI(azure_endpoint=server.url, api_key="k", api_version="2024-10-21") as client:
            assert client.chat.completions.create(**{**CHAT, "model": "my-gpt"}).model == "my-gpt"


class TestAnthropic:
    def test_marked_prefix_is_written_then_read(self, claude):
        """
        A system prompt marked for caching is written once and read ever after, and the parts never overlap.
        """
        system = [{"type": "text", "text": "be kind " * 400, "cache_control": {"type": "ephemeral"}}]
        first, second = (claude.messages.create(**CLAUDE, system=system).usage for _ in range(2))
        assert first.cache_creation.ephemeral_5m_input_tokens == first.cache_creation_input_tokens > 500
        assert (second.cache_creation_input_tokens, second.cache_read_input_tokens) == (
            0,
            first.cache_creation_input_tokens,
        )

    def test_one_hour_writes_stand_apart(self, claude):
        """
        A prefix with a time to live of an hour is counted as such.
        """
        marked = {"type": "ephemeral", "ttl": "1h"}
        usage = claude.messages.create(**CLAUDE, system=[{"type": "text", "text": "x" * 800, "cache_control": marked}])
        assert usage.usage.cache_creation.ephemeral_1h_input_tokens == usage.usage.cache_creation_input_tokens > 100

    @pytest.mark.parametrize(
        ("more", "kinds"),
        [
            ({}, ["text"]),
            ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, ["thinking", "text"]),
            ({"tools": [{"name": "forecast", "input_schema": SCHEMA}]}, ["tool_use"]),
        ],
    )
    def test_stream_and_whole_answer_agree(self, claude, more, kinds):
        """
        What the SDK puts together from a stream is what it gets in one piece.
        """
        whole = claude.messages.create(**CLAUDE, **more)
        with claude.messages.stream(**CLAUDE, **more) as stream:
            streamed = stream.get_final_message()
        assert [block.type for block in whole.content] == [block.type for block in streamed.content] == kinds
        assert whole.usage.output_tokens == streamed.usage.output_tokens

    def test_counting_tokens_is_no_message(self, claude):
        """
        The token counting endpoint gives a number and nothing else.
        """
        ask = {name: CLAUDE[name] for name in ("model", "messages")}
        assert claude.messages.count_tokens(**ask).input_tokens == 9


class TestFaults:
    def test_queued_replies_come_first_and_once(self, server, gpt):
        """
        Queued replies answer in their order; afterwards all is well again.
        """
        server.queue("/chat/completions", Reply.rate_limited(), Reply(status=500, headers={"retry-after-ms": "1"}))
        gpt.chat.completions.create(**CHAT)
        assert [request.status for request in server.requests] == [429, 500, 200]

    def test_script_picks_its_request(self, server, http):
        """
        A reply queued for some content leaves other requests alone.
        """
        server.queue("/chat/completions", Reply(status=401), containing=b"secret")
        statuses = [
            http.post("/v1/chat/completions", json={**CHAT, "user": user}).status_code for user in ("a", "secret")
        ]
        assert statuses == [200, 401]

    @pytest.mark.parametrize(
        ("status", "error", "code"),
        [
            (400, openai.BadRequestError, None),
            (401, openai.AuthenticationError, "invalid_api_key"),
            (404, openai.NotFoundError, "model_not_found"),
            (429, openai.RateLimitError, "rate_limit_exceeded"),
            (500, openai.InternalServerError, None),
        ],
    )
    def test_statuses_become_the_sdk_s_errors(self, server, gpt, status, error, code):
        """
        An error status carries a document from which the SDK makes its own exception.
        """
        server.queue("/chat/completions", Reply(status=status))
        with pytest.raises(error) as caught:
            gpt.with_options(max_retries=0).chat.completions.create(**CHAT)
        assert (caught.value.status_code, caught.value.code) == (status, code)

    def test_anthropic_errors_speak_anthropic(self, server, claude):
        """
        The same status on an Anthropic path has Anthropic's document and request id.
        """
        server.queue("/messages", Reply(status=529))
        with pytest.raises(anthropic.APIStatusError) as caught:
            claude.with_options(max_retries=0).messages.create(**CLAUDE)
        assert caught.value.body["error"]["type"] == "overloaded_error"

    def test_unknown_path_is_not_found(self, http):
        """
        A path that no provider has is answered 404.
        """
        assert http.post("/v1/elsewhere", json={}).status_code == 404

    def test_body_that_is_no_json_is_refused(self, http):
        """
        A body that cannot be read is a bad request.
        """
        assert http.post("/v1/chat/completions", content=b"{").status_code == 400

    @pytest.mark.parametrize("reset", [False, True])
    def test_cut_stream_breaks_off(self, server, gpt, reset):
        """
        A connection cut in the middle of a stream is a connection error for the one who reads.
        """
        server.queue("/chat/completions", Reply(cut_after=3, reset=reset))
        with pytest.raises((openai.APIConnectionError, httpx2.TransportError)):
            list(gpt.chat.completions.create(**CHAT, stream=True))

    def test_connection_can_close_instead_of_answering(self, server, http):
        """
        `cut_after=0` hangs up without a word.
        """
        server.queue("/chat/completions", Reply(cut_after=0))
        with pytest.raises(httpx2.RemoteProtocolError):
            http.post("/v1/chat/completions", json=CHAT)

    def test_malformed_frame_reaches_the_reader(self, server, gpt):
        """
        A frame that is no JSON stands where the script put it.
        """
        server.queue("/chat/completions", Reply(edit=malformed_after(2)))
        stream = iter(gpt.chat.completions.create(**CHAT, stream=True))
        assert [next(stream), next(stream)]
        with pytest.raises(json.JSONDecodeError):
            next(stream)

    def test_error_frame_ends_a_stream_of_either_provider(self, server, gpt, claude):
        """
        An error frame inside a stream raises the SDK's error, in both formats.
        """
        server.queue("", Reply(edit=error_after(2)), Reply(edit=error_after(2)))
        with pytest.raises(openai.APIError, match="had an error"):
            list(gpt.chat.completions.create(**CHAT, stream=True))
        with pytest.raises(anthropic.APIStatusError, match="had an error"):
            list(claude.messages.create(**CLAUDE, stream=True))

    def test_redirect_is_followed(self, server):
        """
        A redirect leads to the ordinary answer.
        """
        server.queue("/old", Reply.redirect("/v1/chat/completions"))
        with httpx2.Client(base_url=server.url, follow_redirects=True) as client:
            assert client.post("/old", json=CHAT).json()["object"] == "chat.completion"

    def test_held_answer_goes_on_when_released(self, server, gpt):
        """
        A held stream gives its first piece, waits, and completes when released.
        """
        release = threading.Event()
        server.queue("/chat/completions", Reply(hold=release))
        stream = iter(gpt.chat.completions.create(**CHAT, stream=True))
        first = next(stream)
        release.set()
        assert (first.choices[0].delta.role, len(list(stream))) == ("assistant", 13)

    def test_early_close_is_seen(self, server, gpt):
        """
        A client that hangs up in the middle of an answer is noticed without another byte being sent.
        """
        server.queue("/chat/completions", Reply(hold=threading.Event()))
        with gpt.chat.completions.create(**CHAT, stream=True) as stream:
            next(stream)
        server.wait_for(lambda running: running.requests[-1].closed_early)
        assert not server.requests[-1].finished

    def test_waiting_in_vain_says_so(self, server):
        """
        `wait_for` raises when its condition never comes true.
        """
        with pytest.raises(TimeoutError, match="0 requests"):
            server.wait_for(lambda running: running.requests, timeout=0.01)


class TestWire:
    def test_requests_are_kept_to_the_byte(self, server):
        """
        Head and body are kept as they came over the wire.
        """
        sent = b"POST /v1/embeddings?a=b HTTP/1.1\r\nHost: x\r\nX-OdD:  Value \r\nContent-Length: 2\r\n\r\n{}"
        with socket.create_connection((server.url[7:].split(":")[0], int(server.url.rpartition(":")[2]))) as client:
            client.sendall(sent)
            server.wait_for(lambda running: running.requests)
        received = server.requests[0]
        assert (received.wire, received.path, received.headers["x-odd"]) == (sent, "/v1/embeddings", "Value")

    def test_chunked_requests_are_put_together(self, server, http):
        """
        A body sent in chunks, as generators are, is whole when it has arrived.
        """
        body = json.dumps(CHAT).encode()
        answer = http.post("/v1/chat/completions", content=iter([body[:9], body[9:]]))
        assert (answer.status_code, server.requests[0].body) == (200, body)

    def test_connections_are_kept_alive(self, server, http):
        """
        Several calls share one connection.
        """
        assert [http.post("/v1/chat/completions", json=CHAT).status_code for _ in range(3)] == [200] * 3
        assert server.connections == 1

    def test_ids_are_never_the_same(self, http):
        """
        Two equal requests get equal answers under different ids.
        """
        first, second = (http.post("/v1/chat/completions", json=CHAT) for _ in range(2))
        assert first.headers["x-request-id"] != second.headers["x-request-id"]
        assert {**first.json(), "id": ""} == {**second.json(), "id": ""}

    @pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
    @given(size=st.none() | st.integers(1, 4000), streamed=st.booleans())
    @settings(
        max_examples=10,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    def test_body_is_the_same_however_it_is_cut_or_packed(self, server, http, encoding, size, streamed):
        """
        Encoding and piece size change the bytes on the wire, never what is read.
        """
        ask = {**CHAT, "stream": streamed}
        server.queue("/chat/completions", Reply(text="a b c"), Reply(text="a b c", encoding=encoding, chunk_size=size))
        plain, packed = (http.post("/v1/chat/completions", json=ask) for _ in range(2))
        assert packed.headers["content-encoding"] == encoding
        assert _without_id(plain) == _without_id(packed)

    def test_scripted_words_and_usage_are_told(self, server, gpt):
        """
        A reply may choose what the model says and what it counts.
        """
        server.queue("/chat/completions", Reply(text="No.", usage={"prompt_tokens": 1_000_000}))
        answer = gpt.chat.completions.create(**CHAT)
        assert (answer.choices[0].message.content, answer.usage.prompt_tokens) == ("No.", 1_000_000)

    def test_scripted_body_is_sent_as_it_stands(self, server, http):
        """
        A reply with a body of its own is that body, with its own headers.
        """
        server.queue("/ask", Reply(body=b"<p>", headers={"content-type": "text/html"}))
        answer = http.post("/ask")
        assert (answer.text, answer.headers["content-type"]) == ("<p>", "text/html")

    def test_leaving_ends_every_thread(self):
        """
        After its block a server has no thread and no connection left, though a client is still there.
        """
        before = threading.active_count()
        with httpx2.Client() as client:
            with ProviderServer() as server:
                client.post(f"{server.openai_url}/chat/completions", json=CHAT)
            assert (server.connections, threading.active_count()) == (0, before)


class TestCommand:
    def test_server_runs_by_itself(self):
        """
        `python -m otel_llm.testing` prints where it listens, serves, and ends when told to.
        """
        command = [sys.executable, "-m", "otel_llm.testing"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            url = process.stdout.readline().strip().removeprefix("export OPENAI_BASE_URL=")
            status = httpx2.post(f"{url}/chat/completions", json=CHAT).status_code
            process.terminate()
        assert (status, process.returncode) == (200, 0)


class TestRecordingSink:
    def test_it_is_a_sink(self):
        """
        A recording sink can stand wherever a sink is expected.
        """
        assert isinstance(RecordingSink(), Sink)

    def test_it_keeps_what_it_was_sent(self):
        """
        Batches, records and events are there in the order they came.
        """
        sink = RecordingSink()
        receipts = [asyncio.run(sink.send(_batch("a", "b"))), asyncio.run(sink.send(_batch("c")))]
        assert (receipts, [event.id for event in sink.events]) == ([Receipt.delivered()] * 2, ["a", "b", "c"])

    def test_it_answers_as_scripted(self):
        """
        Scripted outcomes are given in order, an exception is raised, then all is delivered.
        """
        sink = RecordingSink()
        sink.answer_with(Retry(2.0), [DELIVERED, Rejected("too long")], OSError("down"))
        assert asyncio.run(sink.send(_batch("a"))) == Receipt(Retry(2.0))
        assert asyncio.run(sink.send(_batch("a", "b"))) == Receipt([DELIVERED, Rejected("too long")])
        with pytest.raises(OSError, match="down"):
            asyncio.run(sink.send(_batch("a")))
        assert asyncio.run(sink.send(_batch("a"))) is Receipt.delivered()

    def test_it_writes_for_other_processes(self, tmp_path):
        """
        With a path every record's body becomes a line of that file.
        """
        sink = RecordingSink(RecordingOptions(path=str(tmp_path / "records.jsonl")))
        asyncio.run(sink.send(_batch("a", "b")))
        assert (tmp_path / "records.jsonl").read_bytes() == b'{"id":"a"}\n{"id":"b"}\n'


def _without_id(response):
    return response.text.replace(response.headers["x-request-id"].removeprefix("req_"), "")


def _batch(*ids):
    return Batch([Record(Event(name, "n", 0, 0, 9, "INFO", {}), b'{"id":"%s"}' % name.encode()) for name in ids])
