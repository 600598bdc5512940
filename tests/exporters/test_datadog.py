"""The sink for Datadog against a server that holds to its limits: what is sent, what is cut, what is too old."""

import asyncio
import contextlib
import json
import time

import msgspec
import pytest
from hook_receiver import Answer
from intakes import Datadog

from otel_llm import plugins
from otel_llm.delivery import breaker, setup
from otel_llm.delivery.delivery import Delivery
from otel_llm.delivery.sink import DELIVERED, Batch, Record, Rejected, Retry
from otel_llm.delivery.spec import DeliverySettings
from otel_llm.errors import NotDelivered, Unauthorized
from otel_llm.formats import FORMATS, find
from otel_llm.settings import SinkCommon, SinkSettings, load
from otel_llm.telemetry.event import Resource

HOUR = 3600 * 10**9


@pytest.fixture
def intake():
    """
    Give a server that has nothing yet.
    """
    with Datadog() as running:
        yield running


@pytest.fixture
async def open_sink(intake):
    """
    Give a function that opens a sink for the server.
    """
    async with contextlib.AsyncExitStack() as stack:

        async def make(**options):
            sink = plugins.make_sink(settings(**{"url": intake.url, **options}))
            stack.push_async_callback(sink.close)
            await sink.open()
            return sink

        yield make


@pytest.fixture
def recent(call):
    """
    Give a function that makes the event of a call of this moment.
    """
    return lambda **changes: call(time.time_ns(), **changes)


def settings(url, **options):
    return SinkSettings("calls", "datadog", {"url": url, "api_key": "right", **options})


def batch_of(*events, wanted="otel"):
    made = find(wanted)
    return Batch([Record(event, made.encode(event), made.content_type) for event in events], made.join)


def kinds(receipt, batch):
    return [type(outcome).__name__ for outcome in receipt.of(batch)]


async def test_a_log(open_sink, intake, recent):
    """A log has its document, what Datadog knows it by, and a line for people."""
    resource = Resource({"service.name": "shop", "service.version": "1", "host.name": "h"})
    event = msgspec.structs.replace(recent(), resource=resource)
    await (await open_sink(tags=["team:a"])).send(batch_of(event))
    (log,) = intake.documents
    reserved = {name: log[name] for name in ("ddsource", "ddtags", "service", "hostname", "status", "event_id")}
    assert reserved == {
        "ddsource": "otel-llm",
        "ddtags": "team:a,version:1",
        "service": "shop",
        "hostname": "h",
        "status": "info",
        "event_id": event.id,
    }
    assert "openai/gpt-4o-2024-11-20 chat 1,200 in" in log["message"]
    assert log["attributes"]["gen_ai.request.model"] == "gpt-4o"


async def test_trace(open_sink, intake, recent):
    """Trace and span are there in Datadog's form beside OpenTelemetry's."""
    await (await open_sink()).send(batch_of(recent()))
    (log,) = intake.documents
    assert log["dd"] == {"trace_id": str(0xAAAAAAAAAAAAAAAA), "span_id": str(0xBBBBBBBBBBBBBBBB)}
    assert (log["trace_id"], log["span_id"]) == ("a" * 32, "b" * 16)


async def test_credentials(open_sink, intake, recent):
    """The key is in its header; the site is in the name of the host."""
    await (await open_sink()).send(batch_of(recent()))
    assert [(post.headers["dd-api-key"], post.headers["content-encoding"]) for post in intake.posts] == [
        ("right", "gzip")
    ]
    sink = plugins.make_sink(SinkSettings("calls", "datadog", {"api_key": "k", "site": "us5.datadoghq.com"}))
    assert sink._url.reveal() == "https://http-intake.logs.us5.datadoghq.com/api/v2/logs"


@pytest.mark.parametrize(
    ("told", "site"),
    [
        ({}, "datadoghq.com"),
        ({"DD_SITE": "datadoghq.com"}, "datadoghq.com"),
        ({"DD_SITE": "datadoghq.eu"}, "datadoghq.eu"),
        ({"DD_SITE": "us5.datadoghq.com"}, "us5.datadoghq.com"),
        ({"DD_SITE": "ap1.datadoghq.com"}, "ap1.datadoghq.com"),
        ({"DD_SITE": "ddog-gov.com"}, "ddog-gov.com"),
        ({"DD_SITE": "datadoghq.eu", "OTEL_LLM_DATADOG_SITE": "us3.datadoghq.com"}, "us3.datadoghq.com"),
    ],
)
def test_settings_of_the_agent(told, site):
    """The variables with which Datadog's own agent is told of key and site tell us, too; ours come first."""
    loaded = load(environ={"OTEL_LLM_SINKS": "datadog", "DD_API_KEY": "k", **told})
    (found,) = loaded.sinks
    sink = plugins.make_sink(found)
    assert (loaded.problems, sink._url.reveal()) == ((), f"https://http-intake.logs.{site}/api/v2/logs")


@pytest.mark.parametrize(
    ("told", "key"), [({}, "theirs"), ({"OTEL_LLM_DATADOG_API_KEY": "ours"}, "ours")], ids=["theirs", "ours"]
)
async def test_key_of_the_agent(intake, recent, told, key):
    """The key of Datadog's own agent is sent where we have none of our own."""
    environ = {"OTEL_LLM_SINKS": "datadog", "DD_API_KEY": "theirs", "OTEL_LLM_DATADOG_URL": intake.url, **told}
    (found,) = load(environ=environ).sinks
    intake.token = key
    sink = plugins.make_sink(found)
    await sink.open()
    assert (await sink.send(batch_of(recent()))).outcomes == [DELIVERED]
    await sink.close()


def test_options_before_the_agent():
    """An option that is given comes before a variable of Datadog's own agent."""
    code = {"sinks": {"datadog": {"api_key": "ours", "site": "us3.datadoghq.com"}}}
    (found,) = load(code, {"DD_API_KEY": "theirs", "DD_SITE": "datadoghq.eu"}).sinks
    options = plugins.make_sink(found)._options
    assert (options.api_key.reveal(), options.site) == ("ours", "us3.datadoghq.com")


@pytest.mark.parametrize("wanted", [name for name, made in FORMATS.items() if made.content_type == "application/json"])
async def test_formats(open_sink, recent, wanted):
    """Every format in JSON is taken."""
    batch = batch_of(recent(), wanted=wanted)
    assert kinds(await (await open_sink()).send(batch), batch) == ["Delivered"]


@pytest.mark.parametrize("wanted", [name for name, made in FORMATS.items() if made.content_type == "application/json"])
async def test_names(open_sink, intake, recent, wanted, odd_name):
    """No name of a label keeps a record away, and its document arrives as it is."""
    batch = batch_of(recent(**{f"otel_llm.label.{odd_name}": "1"}), wanted=wanted)
    assert kinds(await (await open_sink()).send(batch), batch) == ["Delivered"]
    (log,) = intake.documents
    assert json.loads(batch.records[0].body).items() <= log.items()


async def test_binary_format(open_sink, recent):
    """A format that is not JSON waits for the operator."""
    with pytest.raises(NotDelivered, match="takes documents in JSON"):
        await (await open_sink()).send(batch_of(recent(), wanted="otlp_proto"))


async def test_too_old(open_sink, call, recent):
    """A record of yesterday goes to the dead letters, the others arrive."""
    batch = batch_of(recent(), call(time.time_ns() - 19 * HOUR), call(time.time_ns() - 17 * HOUR))
    receipt = await (await open_sink()).send(batch)
    assert kinds(receipt, batch) == ["Delivered", "Rejected", "Delivered"]
    assert receipt.outcomes[1].reason == "older than the 18 hours that Datadog takes"


async def test_entries(open_sink, intake, recent):
    """No request holds more than a thousand logs."""
    batch = batch_of(*[recent() for _ in range(2001)])
    assert set(kinds(await (await open_sink()).send(batch), batch)) == {"Delivered"}
    assert [len(json.loads(post.body)) for post in intake.posts] == [1000, 1000, 1]


async def test_bytes(open_sink, intake, recent):
    """No request is larger than 5 MB before compression."""
    batch = batch_of(*[recent(text="x" * 700_000) for _ in range(15)])
    assert set(kinds(await (await open_sink()).send(batch), batch)) == {"Delivered"}
    assert [len(json.loads(post.body)) for post in intake.posts] == [7, 7, 1]


@pytest.mark.parametrize("text", ["x", "é", "\x01", "𝄞"])
async def test_cut(open_sink, intake, recent, text):
    """The longest texts of a log that is too large are cut, and say so; the others stay."""
    messages = [{"role": "user", "content": text * 990_000}]
    batch = batch_of(recent(gen_ai__input__messages=messages, short="short", long=text * 990_000))
    assert kinds(await (await open_sink()).send(batch), batch) == ["Delivered"]
    (post,), (log,) = intake.posts, intake.documents
    assert len(post.body) <= 1_000_002
    assert log["otel_llm.truncated"] is True
    assert log["attributes"]["gen_ai.input.messages"][0]["content"].endswith("… [truncated]")
    assert (log["attributes"]["short"], log["attributes"]["gen_ai.request.model"]) == ("short", "gpt-4o")


async def test_not_to_be_cut(open_sink, recent):
    """A log of too many short texts goes to the dead letters."""
    batch = batch_of(recent(many=["x" * 20] * 60_000), recent())
    receipt = await (await open_sink()).send(batch)
    assert kinds(receipt, batch) == ["Rejected", "Delivered"]
    assert receipt.outcomes[0].reason == "larger than 1000000 bytes, even with all its texts cut"


async def test_forbidden(open_sink, intake, recent):
    """A key that Datadog does not accept stops the sink at once."""
    intake.token = "another"
    with pytest.raises(Unauthorized, match=r"^403 Forbidden from 127\.0\.0\.1: who are you\?$"):
        await (await open_sink()).send(batch_of(recent()))


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ([Answer(202), Answer(503, {"retry-after": "7"})], [DELIVERED] * 1000 + [Retry(7)] * 1000),
        ([Answer(202), Answer(403)], [DELIVERED] * 1000 + [Retry(0)] * 1000),
        ([Answer(400), Answer(202)], [Retry(0)] * 1000 + [DELIVERED] * 1000),
        ([Answer(413), Answer(413)], [Rejected("")] * 2000),
        ([Answer(413), Answer(403)], [Rejected("")] * 2000),
    ],
)
async def test_parts(open_sink, intake, recent, script, expected):
    """What was taken of a batch is not sent again; what was refused comes again by itself, to be halved."""
    batch = batch_of(*[recent() for _ in range(2000)])
    intake.script.extend(script)
    receipt = await (await open_sink()).send(batch)
    told = [(type(one), getattr(one, "after", None)) for one in receipt.of(batch)]
    assert told == [(type(one), getattr(one, "after", None)) for one in expected]
    assert isinstance(receipt.outcomes, Rejected) == isinstance(expected[0], Rejected)


def test_poison(intake, recent, tmp_path, monkeypatch):
    """A log that Datadog refuses is found among thousands, in requests that hold many."""
    monkeypatch.setattr(breaker, "BASE", 0.01)
    take = intake.take
    made = [recent() for _ in range(2500)]
    bad = made[1234].id.encode()
    intake.take = lambda headers, body: Answer(400, body=b"bad") if bad in body else take(headers, body)
    spec = setup.sink_spec(
        SinkSettings("calls", "datadog", settings(intake.url).options, SinkCommon(batch_size=2500, batch_bytes=2**24))
    )
    delivery = Delivery(sinks=[spec], settings=DeliverySettings(journal_dir=tmp_path, flush_interval_ms=50))
    for event in made:
        delivery.append(event)
    assert delivery.flush(60)
    delivery.shutdown(5)
    made.pop(1234)
    assert sorted(intake.arrived) == sorted(event.id for event in made)
    (letters,) = tmp_path.rglob("*dead*/*.jsonl")
    assert bad.decode() in letters.read_text()


@pytest.mark.slow
@pytest.mark.server
async def test_victorialogs(servers, open_sink, calls, told):
    """Another server that takes what Datadog takes finds each log by its trace, model and day."""
    server = await asyncio.to_thread(servers.start, "victorialogs")
    events = calls(100, time.time_ns(), 8 * HOUR)
    batch = batch_of(*events)
    sink = await open_sink(url=f"{server.endpoint}/insert/datadog/api/v2/logs", tags=["team:shop"])
    assert set(kinds(await sink.send(batch), batch)) == {"Delivered"}
    found = await asyncio.to_thread(server.query, f"ddsource:otel-llm team:shop {events[50].trace_id}")
    ids = [json.loads(record["_msg"])["event_id"] for record in found]
    assert sorted(ids) == sorted(event.id for event in events[50:60])
    models = await asyncio.to_thread(server.counts, "attributes.gen_ai.request.model", "* | unpack_json from _msg")
    assert (await asyncio.to_thread(server.days), models) == told(events)
