"""The sink for Elasticsearch against a server that takes `_bulk` by the book: what is sent, and what of the answers."""

import base64
import contextlib
import json

import msgspec
import pytest
from hook_receiver import Answer
from intakes import Bulk

from otel_llm import plugins
from otel_llm.delivery.sink import DELIVERED, Batch, Record, Rejected, Retry
from otel_llm.errors import NotDelivered, Unauthorized
from otel_llm.formats import FORMATS, find
from otel_llm.settings import SinkSettings, load
from otel_llm.telemetry.event import Resource
from tests.servers.kit import ports

NOON = 1_768_219_200_000_000_000
DAY = 86_400 * 10**9


@pytest.fixture
def bulk():
    """
    Give a server without documents.
    """
    with Bulk() as running:
        yield running


@pytest.fixture
async def open_sink(bulk):
    """
    Give a function that opens a sink for the server.
    """
    async with contextlib.AsyncExitStack() as stack:

        async def make(**options):
            sink = plugins.make_sink(SinkSettings("calls", "elasticsearch", {"url": bulk.url, **options}))
            stack.push_async_callback(sink.close)
            await sink.open()
            return sink

        yield make


def batch_of(*events, wanted="gateway_log"):
    made = find(wanted)
    return Batch([Record(event, made.encode(event), made.content_type) for event in events], made.join)


async def test_documents(open_sink, bulk, call):
    """A document is what its format says, and can be found by time, id, trace and labels."""
    batch = batch_of(call(NOON))
    await (await open_sink()).send(batch)
    (record,) = batch.records
    assert bulk.documents == [
        {
            "@timestamp": "2026-01-12T12:00:00.000Z",
            "event.id": record.event.id,
            "trace.id": "a" * 32,
            "span.id": "b" * 16,
            "labels": {"tenant_id": "t1"},
            **json.loads(record.body),
        }
    ]


@pytest.mark.parametrize("wanted", [name for name, made in FORMATS.items() if made.join is None])
async def test_formats(open_sink, bulk, call, wanted):
    """Every format of JSON documents has its labels once."""
    await (await open_sink()).send(batch_of(call(), wanted=wanted))
    assert bulk.documents[0]["labels"] == {"tenant_id": "t1"}
    assert bulk.posts[-1].body.count(b'"labels":') == 1


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("a..b", "a._.b"),
        ("a.", "a._"),
        (".a", "_.a"),
        (" ", "_"),
        ("", "_"),
        ("a. .b", "a._.b"),
        ('x"; drop', 'x"; drop'),
        ("a.b", "a.b"),
    ],
)
async def test_blank_steps(open_sink, bulk, call, name, stored):
    """Where the path that a name is has a blank step, its attribute has one that can be stored; its label keeps it."""
    event = call(**{name: "1", f"otel_llm.label.{name}": "2"})
    event = msgspec.structs.replace(event, resource=Resource({name: "3"}))
    await (await open_sink()).send(batch_of(event, wanted="otel"))
    (document,) = bulk.documents
    attributes = document["attributes"]
    told = attributes[stored], attributes[f"otel_llm.label.{stored}"], document["resource"]["attributes"]
    assert told == ("1", "2", {stored: "3"})
    assert document["labels"] == {"tenant_id": "t1", name: "2"}


async def test_binary_format(open_sink, call):
    """A format that is not JSON waits for the operator."""
    with pytest.raises(NotDelivered, match="takes documents in JSON"):
        await (await open_sink()).send(batch_of(call(), wanted="otlp_proto"))


async def test_days(open_sink, bulk, call):
    """A record belongs to the day of its event, in UTC, whenever it is sent."""
    await (await open_sink(index="llm-%Y.%m.%d")).send(batch_of(*[call(NOON + days * DAY) for days in (0, 1, -12)]))
    assert [index for index, _ in bulk.indices] == ["llm-2026.01.12", "llm-2026.01.13", "llm-2025.12.31"]


async def test_again(open_sink, bulk, call):
    """What is there already is delivered, and not written again."""
    batch = batch_of(call(), call())
    sink = await open_sink()
    receipts = [await sink.send(batch) for _ in range(2)]
    assert [list(receipt.of(batch)) for receipt in receipts] == [[DELIVERED, DELIVERED]] * 2
    assert len(bulk.documents) == 2


@pytest.mark.parametrize(
    ("status", "kind", "outcome"),
    [
        (400, "mapper_parsing_exception", Rejected),
        (400, "strict_dynamic_mapping_exception", Rejected),
        (400, "validation_exception", Retry),
        (400, "index_closed_exception", Retry),
        (403, "cluster_block_exception", Retry),
        (404, "index_not_found_exception", Retry),
        (429, "es_rejected_execution_exception", Retry),
        (503, "unavailable_shards_exception", Retry),
    ],
)
async def test_items(open_sink, bulk, call, status, kind, outcome):
    """One record that is not taken is treated by its own status; the others are delivered."""
    batch = batch_of(call(), call(), call())
    bulk.errors[batch.records[1].event.id] = status, kind
    first, second, third = (await (await open_sink()).send(batch)).of(batch)
    assert (first, type(second), third) == (DELIVERED, outcome, DELIVERED)
    assert f"{kind}: for a reason" in second.reason


async def test_quotations(open_sink, bulk, call):
    """What a server quotes of a document is not shown."""
    secret = "the quick brown fox jumps over the lazy dog"
    batch = batch_of(call(text=secret), wanted="otel")
    bulk.errors[batch.records[0].event.id] = 400, f"mapper_parsing_exception: Preview of field's value: '{secret}'"
    (outcome,) = (await (await open_sink()).send(batch)).of(batch)
    assert secret not in outcome.reason


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ({}, None),
        ({"api_key": "aWQ6a2V5"}, "ApiKey aWQ6a2V5"),
        ({"api_key": "id:key"}, "ApiKey aWQ6a2V5"),
        ({"username": "shop", "password": "p:s"}, f"Basic {base64.b64encode(b'shop:p:s').decode()}"),
    ],
)
async def test_credentials(open_sink, bulk, call, options, header):
    """Every way to log in, in each request."""
    await (await open_sink(**options)).send(batch_of(call()))
    assert {post.headers.get("authorization") for post in bulk.posts} == {header}


async def test_refused(open_sink, bulk):
    """Credentials that are not accepted stop the sink at once, without being shown."""
    bulk.token = "ApiKey another"
    with pytest.raises(Unauthorized, match=r"^401 Unauthorized from 127\.0\.0\.1: who are you\?$"):
        await open_sink(api_key="aWQ6a2V5")


async def test_next_host(open_sink, bulk, call):
    """Where one server cannot be reached, the next one is asked, and stays the first to be asked."""
    nobody = f"http://127.0.0.1:{ports.free()}"
    with Bulk() as overloaded:
        overloaded.default = Answer(503)
        sink = await open_sink(url=[nobody, overloaded.url, bulk.url])
        for _ in range(3):
            assert (await sink.send(batch_of(call()))).outcomes == [DELIVERED]
        assert len(overloaded.posts) == 1


async def test_no_host(open_sink, bulk, call):
    """Where no server can be reached, the last one's error is told."""
    sink = await open_sink(url=[bulk.url, f"http://127.0.0.1:{ports.free()}"])
    bulk.stop()
    with pytest.raises(NotDelivered, match="ConnectionRefusedError"):
        await sink.send(batch_of(call()))
    bulk.start()


class TestTemplate:
    async def test_installed_once(self, open_sink, bulk):
        """The template is installed where it is missing, and what is there is left alone."""
        for _ in range(2):
            await open_sink(index="llm-%Y")
        (template,) = bulk.templates
        assert template["index_patterns"] == ["llm-*"]
        assert {post.path for post in bulk.posts} == {"/llm/_index_template/otel-llm-llm-?create=true"}

    @pytest.mark.parametrize(
        ("index", "stream", "name"),
        [
            ("llm", False, "otel-llm-llm"),
            ("llm-%Y.%m", False, "otel-llm-llm-"),
            ("llm.%Y", False, "otel-llm-llm."),
            ("llm", True, "otel-llm-llm-stream"),
        ],
    )
    async def test_name(self, open_sink, bulk, index, stream, name):
        """Each kind of index has a template of its own."""
        await open_sink(index=index, data_stream=stream)
        assert bulk.posts[0].path == f"/llm/_index_template/{name}?create=true"

    @pytest.mark.parametrize("known", ["flattened", "flat_object", "object"])
    async def test_labels(self, open_sink, bulk, known):
        """Labels have the type that the server knows for them."""
        bulk.label_types = {known}
        await open_sink()
        assert bulk.templates[0]["template"]["mappings"]["properties"]["labels"] == {"type": known}

    async def test_refused(self, open_sink, bulk):
        """A template that the server does not take is reported with its words."""
        bulk.label_types = set()
        with pytest.raises(NotDelivered, match="the index template is not installed: 400 Bad Request from"):
            await open_sink()

    async def test_data_stream(self, open_sink, bulk, call):
        """A data stream has its template, and no date in its name."""
        await (await open_sink(index="llm", data_stream=True)).send(batch_of(call()))
        (template,) = bulk.templates
        assert (template["index_patterns"], template["data_stream"]) == (["llm"], {})
        assert [index for index, _ in bulk.indices] == ["llm"]


@pytest.mark.parametrize("host", ["example.com", "example.com:9243"])
def test_cloud_id(host):
    """A cloud id stands for one https address, and is enough."""
    cloud_id = "shop:" + base64.b64encode(f"{host}$abc$def".encode()).decode()
    sink = plugins.make_sink(SinkSettings("calls", "elasticsearch", {"cloud_id": cloud_id}))
    assert list(sink._hosts) == [f"https://abc.{host if ':' in host else host + ':443'}"]


@pytest.mark.parametrize("index", ["llm", "llm.calls-%G.%V", "été-%Y.%m.%d.%H", "1", "x" * 255])
def test_indices(index):
    """Names that servers take are taken."""
    assert plugins.check_sink(SinkSettings("calls", "elasticsearch", {"index": index})) == ()


def test_settings_of_the_gateway():
    """The variables with which the MagicAPI gateway is told of its Elasticsearch tell us, too."""
    told = {
        "ENABLED_EXPORTERS": "elasticsearch",
        "ELASTICSEARCH_URL": "https://es1:9200,https://es2:9200",
        "ELASTICSEARCH_INDEX": "noveum-metrics",
        "ELASTICSEARCH_USERNAME": "shop",
        "ELASTICSEARCH_PASSWORD": "hush",
    }
    loaded = load(environ=told)
    (settings,) = loaded.sinks
    sink = plugins.make_sink(settings)
    assert (loaded.problems, list(sink._hosts)) == ((), ["https://es1:9200", "https://es2:9200"])
    assert (sink._options.index, sink._options.username) == ("noveum-metrics", "shop")
