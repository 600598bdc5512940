"""
Recorded traffic goes the whole road: sent by a real client, answered by a local server, and told in the call's record.
"""

import json

import anthropic
import httpx2
import openai
import pytest

from otel_llm.testing import Reply

NAMES = (
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.reasoning.output_tokens",
)


def usages(value):
    if isinstance(value, list):
        return [usage for item in value for usage in usages(item)]
    if not isinstance(value, dict):
        return []
    inner = [usage for key, item in value.items() if key != "usage" for usage in usages(item)]
    return [value["usage"], *inner] if value.get("usage") else inner


def told(recording):
    """
    Merge every usage object of the recorded answer, the later over the earlier.
    """
    lines = recording.answer.splitlines() if recording.streamed else [b"data: " + recording.answer]
    merged = {}
    for line in lines:
        if line.startswith(b"data: {"):
            for usage in usages(json.loads(line[6:])):
                merged |= {name: count for name, count in usage.items() if count is not None}
    return merged


def openai_tokens(usage):
    read = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    wrote = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    return (
        usage.get("prompt_tokens", usage.get("input_tokens")),
        usage.get("completion_tokens", usage.get("output_tokens")),
        read.get("cached_tokens"),
        wrote.get("reasoning_tokens"),
    )


def anthropic_tokens(usage):
    if not usage:
        return (None, None, None, None)
    cached = (usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens"))
    total = usage["input_tokens"] + sum(count or 0 for count in cached)
    thought = (usage.get("output_tokens_details") or {}).get("thinking_tokens")
    return (total, usage["output_tokens"], cached[0], thought)


def answered(server, recording):
    kind = "text/event-stream; charset=utf-8" if recording.streamed else "application/json"
    server.default = Reply(status=recording.status, body=recording.answer, headers={"content-type": kind})


def send_raw(server, recording):
    method, content = ("POST", recording.request) if recording.request else ("GET", None)
    headers = {"content-type": "application/json", "authorization": "Bearer sk-local"}
    with httpx2.Client() as client:
        if recording.streamed:
            with client.stream(method, server.url + recording.path, content=content, headers=headers) as response:
                return list(response.iter_bytes())
        return client.request(method, server.url + recording.path, content=content, headers=headers).content


def send_by_sdk(client, errors, recording):
    path = recording.path.removeprefix("/v1")
    try:
        if not recording.request:
            return client.get(path, cast_to=httpx2.Response)
        body = json.loads(recording.request)
        if not recording.streamed:
            return client.post(path, cast_to=httpx2.Response, body=body)
        return list(client.post(path, cast_to=object, body=body, stream=True, stream_cls=_stream_class(client)))
    except errors:
        return None


def _stream_class(client):
    return (openai if isinstance(client, openai.OpenAI) else anthropic).Stream[object]


class TestRecordedRoad:
    @pytest.mark.parametrize("sender", ["raw", "sdk"])
    def test_openai(self, openai_recording, server, telemetry, sender):
        """
        The record's tokens are those of OpenAI's recorded answer, to the unit, whoever sent the request.
        """
        recording = openai_recording
        answered(server, recording)
        if sender == "raw":
            send_raw(server, recording)
        else:
            with openai.OpenAI(base_url=server.openai_url, api_key="sk-local", max_retries=0) as client:
                send_by_sdk(client, openai.APIStatusError, recording)

        record = telemetry.record()
        assert tuple(record.get(name) for name in NAMES) == openai_tokens(told(recording))

    @pytest.mark.parametrize("sender", ["raw", "sdk"])
    def test_anthropic(self, anthropic_recording, server, telemetry, sender):
        """
        The record's tokens are those of Anthropic's recorded answer, cached ones in the total.
        """
        recording = anthropic_recording
        answered(server, recording)
        if sender == "raw":
            send_raw(server, recording)
        else:
            with anthropic.Anthropic(base_url=server.url, api_key="sk-ant-local", max_retries=0) as client:
                send_by_sdk(client, anthropic.APIStatusError, recording._replace(path="/v1" + recording.path))

        record = telemetry.record()
        assert tuple(record.get(name) for name in NAMES) == anthropic_tokens(told(recording))
