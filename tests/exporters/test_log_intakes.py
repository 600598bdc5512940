"""New Relic, Loki and Splunk, against servers that hold to their rules: what a record becomes there."""

import asyncio
import base64
import contextlib
import json
import time

import msgspec
import pytest
from hook_receiver import Answer
from intakes import Loki, NewRelic, Splunk

from otel_llm import plugins
from otel_llm.delivery.sink import Batch, Record, Rejected
from otel_llm.errors import NotDelivered, Unauthorized
from otel_llm.formats import FORMATS, find
from otel_llm.settings import SinkSettings
from otel_llm.telemetry.event import Resource

SERVERS = {"newrelic": NewRelic, "loki": Loki, "splunk_hec": Splunk}
KEYS = {"newrelic": {"api_key": "right"}, "loki": {}, "splunk_hec": {"token": "right"}}
DOCUMENTS = {"newrelic": "attributes", "loki": "line", "splunk_hec": "event"}
JSON_FORMATS = [name for name, made in FORMATS.items() if made.content_type == "application/json"]


class Opened:
    """
    A sink with the server it sends to.
    """

    def __init__(self, name, server, options):
        given = {"url": server.url, **KEYS[name], **options}
        self.server = server
        self.sink = plugins.make_sink(SinkSettings("calls", name, given))

    async def send(self, *events, wanted="otel"):
        made = find(wanted)
        batch = Batch([Record(event, made.encode(event), made.content_type) for event in events], made.join)
        return (await self.sink.send(batch)).of(batch)


@pytest.fixture
async def opened():
    """
    Give a function that opens a sink to a server of its own.
    """
    async with contextlib.AsyncExitStack() as stack:

        async def make(name, **options):
            made = Opened(name, stack.enter_context(SERVERS[name]()), options)
            stack.push_async_callback(made.sink.close)
            await made.sink.open()
            return made

        yield make


@pytest.fixture
def recent(call):
    """
    Give a function that makes the event of a call of this moment, in a service on a host.
    """
    resource = Resource({"service.name": "shop", "host.name": "h"})
    return lambda **changes: msgspec.structs.replace(call(time.time_ns(), **changes), resource=resource)


def kinds(outcomes):
    return [type(outcome).__name__ for outcome in outcomes]


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("wanted", JSON_FORMATS)
async def test_formats(opened, recent, name, wanted):
    """Every format in JSON is taken."""
    assert kinds(await (await opened(name)).send(recent(), wanted=wanted)) == ["Delivered"]


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("wanted", JSON_FORMATS)
async def test_names(opened, recent, name, wanted, odd_name):
    """No name of a label keeps a record away, and its document arrives as it is."""
    to, event = await opened(name), recent(**{f"otel_llm.label.{odd_name}": "1"})
    assert kinds(await to.send(event, wanted=wanted)) == ["Delivered"]
    (found,) = to.server.documents
    document = json.loads(find(wanted).encode(event))
    assert document.items() <= found[DOCUMENTS[name]].items()


@pytest.mark.parametrize("name", SERVERS)
async def test_binary_format(opened, recent, name):
    """A format that is not JSON waits for the operator."""
    with pytest.raises(NotDelivered, match="takes documents in JSON, not a format of another kind"):
        await (await opened(name)).send(recent(), wanted="otlp_proto")


@pytest.mark.parametrize("name", SERVERS)
async def test_limits(opened, recent, name):
    """A batch that is too large goes in several requests; a record that is too large is cut, and says so."""
    to = await opened(name)
    events = [*[recent(text="x" * 90_000) for _ in range(60)], recent(text='"\x01é' * 330_000)]
    assert set(kinds(await to.send(*events))) == {"Delivered"}
    assert to.server.arrived == [event.id for event in events]
    assert len(to.server.posts) > 1
    assert b"otel_llm.truncated" in to.server.posts[-1].body


@pytest.mark.parametrize("name", ["newrelic", "splunk_hec"])
async def test_refused(opened, recent, name):
    """A key that is not accepted stops the sink at once."""
    to = await opened(name)
    to.server.token = "another"
    with pytest.raises(Unauthorized, match=r"^403 Forbidden from 127\.0\.0\.1: who are you\?$"):
        await to.send(recent())


async def test_new_relic(opened, recent):
    """New Relic gets a line for people, the document, and what it links a log to its trace by."""
    to, event = await opened("newrelic"), recent()
    await to.send(event)
    (log,) = to.server.documents
    assert "openai/gpt-4o-2024-11-20 chat 1,200 in" in log["message"]
    assert log["timestamp"] == event.timestamp_ns // 1_000_000
    linked = {name: log["attributes"][name] for name in ("trace.id", "span.id", "service.name", "hostname")}
    assert linked == {"trace.id": "a" * 32, "span.id": "b" * 16, "service.name": "shop", "hostname": "h"}
    assert log["attributes"]["attributes"]["gen_ai.request.model"] == "gpt-4o"
    assert to.server.posts[0].headers["api-key"] == "right"


async def test_too_old_for_new_relic(opened, call, recent):
    """A record of the day before yesterday goes to the dead letters."""
    _, old = await (await opened("newrelic")).send(recent(), call(time.time_ns() - 49 * 3600 * 10**9))
    assert old == Rejected("older than the 48 hours that New Relic takes")


async def test_loki(opened, recent):
    """Loki gets few labels, the document as the line, and ids as metadata; what comes twice is there once."""
    to = await opened("loki", labels={"service_name": "{resource.service.name}", "user": "{user_id}"}, tenant="t1")
    event = recent()
    for _ in range(2):
        await to.send(event)
    (found,) = to.server.documents
    assert found["labels"] == {"service_name": "shop", "user": "unknown"}
    assert (found["time"], found["trace_id"], found["span_id"]) == (str(event.timestamp_ns), "a" * 32, "b" * 16)
    assert found["line"]["attributes"]["gen_ai.request.model"] == "gpt-4o"
    assert to.server.posts[0].headers["x-scope-orgid"] == "t1"


async def test_log_in_to_loki(opened, recent):
    """User and password are sent as HTTP has it."""
    to = await opened("loki", username="123", password="p:s")
    await to.send(recent())
    assert to.server.posts[0].headers["authorization"] == f"Basic {base64.b64encode(b'123:p:s').decode()}"


async def test_splunk(opened, recent):
    """Splunk gets the document at the time of the call, where from, and ids as indexed fields."""
    to, event = await opened("splunk_hec", index="llm"), recent()
    await to.send(event)
    (found,) = to.server.documents
    document = found.pop("event")
    assert found == {
        "time": f"{event.timestamp_ns / 1e9:.3f}",
        "host": "h",
        "source": "otel-llm",
        "sourcetype": "_json",
        "index": "llm",
        "fields": {"event_id": event.id, "trace_id": "a" * 32, "span_id": "b" * 16},
    }
    assert document["attributes"]["gen_ai.request.model"] == "gpt-4o"
    assert to.server.posts[0].headers["authorization"] == "Splunk right"


@pytest.mark.parametrize("code", [7, 10, 11])
async def test_settings_of_splunk(opened, recent, code):
    """A wrong index or channel is no matter of the record, which waits."""
    to = await opened("splunk_hec")
    to.server.script.append(Answer(400, body=json.dumps({"text": "Incorrect index", "code": code}).encode()))
    with pytest.raises(NotDelivered, match=r"^400 Bad Request from 127\.0\.0\.1: .*Incorrect index"):
        await to.send(recent())


@pytest.mark.parametrize("body", [b'{"text": "Invalid data format", "code": 6}', b"bad", b'{"code": "7"}'])
async def test_bad_event_for_splunk(opened, recent, body):
    """An event that Splunk cannot read is rejected."""
    to = await opened("splunk_hec")
    to.server.script.append(Answer(400, body=body))
    assert kinds(await to.send(recent())) == ["Rejected"]


@pytest.mark.slow
@pytest.mark.server
async def test_victorialogs(servers, opened, calls, told):
    """Another server that takes what Loki takes finds each record by its label, trace, model and day."""
    server = await asyncio.to_thread(servers.start, "victorialogs")
    to = await opened("loki", url=f"{server.endpoint}/insert/loki/api/v1/push", labels={"app": "{provider}"})
    events = calls(100, time.time_ns())
    assert set(kinds(await to.send(*events))) == {"Delivered"}
    found = await asyncio.to_thread(server.query, f'{{app="openai"}} trace_id:={events[50].trace_id}')
    assert sorted(record["event_id"] for record in found) == sorted(event.id for event in events[50:60])
    models = await asyncio.to_thread(server.counts, "attributes.gen_ai.request.model")
    assert (await asyncio.to_thread(server.days), models) == told(events)


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize("wanted", JSON_FORMATS)
async def test_names_in_victorialogs(servers, opened, recent, wanted, odd_name):
    """A server that takes what Loki takes takes a label of any name."""
    server = await asyncio.to_thread(servers.get, "victorialogs")
    to = await opened("loki", url=f"{server.endpoint}/insert/loki/api/v1/push")
    event = recent(**{f"otel_llm.label.{odd_name}": "1"})
    assert kinds(await to.send(event, wanted=wanted)) == ["Delivered"]
    (found,) = await asyncio.to_thread(server.query, f"event_id:={event.id}")
    assert found["source"] == "otel-llm"
