"""Elasticsearch against real servers: each event once through restarts, and found by what another client asks."""

import asyncio
import contextlib
import hashlib
import time
from collections import Counter

import msgspec
import pytest

from otel_llm import plugins
from otel_llm.delivery import breaker, setup
from otel_llm.delivery.delivery import Delivery
from otel_llm.delivery.sink import DELIVERED, Batch, Record, Retry
from otel_llm.delivery.spec import DeliverySettings
from otel_llm.errors import Unauthorized
from otel_llm.formats import FORMATS
from otel_llm.settings import SinkCommon, SinkSettings
from otel_llm.telemetry.event import Resource
from tests.servers.opensearch_secured import PASSWORD, STRANGER, USER

pytestmark = [pytest.mark.slow, pytest.mark.server]

EVERYTHING = {"match_all": {}}
COUNT = 100_000


@pytest.fixture
def open_delivery(tmp_path, monkeypatch):
    """
    Give a function that opens a delivery to a sink.
    """
    monkeypatch.setattr(breaker, "CAP", 0.5)
    with contextlib.ExitStack() as stack:

        def make(url, common=None, **options):
            shared = SinkCommon(batch_bytes=2**22, **(common or {}))
            spec = setup.sink_spec(SinkSettings("calls", "elasticsearch", {"url": url, **options}, shared))
            delivery = Delivery(
                sinks=[spec], settings=DeliverySettings(journal_dir=tmp_path / "journal", flush_interval_ms=50)
            )
            stack.callback(delivery.shutdown, 5)
            return delivery

        yield make


@pytest.fixture(scope="module")
def node(servers):
    """
    Give an OpenSearch of our own.
    """
    return servers.start("opensearch")


@pytest.fixture(scope="module")
def secured(servers):
    """
    Give an OpenSearch that asks who is there.
    """
    return servers.start("opensearch_secured")


def stats_of(delivery):
    (stats,) = delivery.stats().values()
    return stats


def wait_for(delivery, sent):
    deadline = time.monotonic() + 300
    while stats_of(delivery).events_sent < sent:
        assert time.monotonic() < deadline, stats_of(delivery)
        time.sleep(0.05)


def days_of(node, index):
    day = {"date_histogram": {"field": "@timestamp", "calendar_interval": "day"}}
    found = node.search(index, EVERYTHING, size=0, aggs={"days": day})["aggregations"]["days"]["buckets"]
    return {bucket["key_as_string"][:10]: bucket["doc_count"] for bucket in found}


def ids_of(node, index):
    """
    Give every value of `event.id` with how often it is there.
    """
    found, after = Counter(), {}
    while True:
        pages = {"size": 10_000, "sources": [{"id": {"terms": {"field": "event.id"}}}], **after}
        page = node.search(index, EVERYTHING, size=0, aggs={"ids": {"composite": pages}})["aggregations"]["ids"]
        found.update({bucket["key"]["id"]: bucket["doc_count"] for bucket in page["buckets"]})
        if "after_key" not in page:
            return found
        after = {"after": page["after_key"]}


def check_queries(node, index, made, told):
    """
    Compare what another client finds with what the events say.
    """
    wanted = made[len(made) // 2].trace_id
    found = node.search(index, {"term": {"trace.id": wanted}}, size=100)["hits"]["hits"]
    assert sorted(hit["_id"] for hit in found) == sorted(event.id for event in made if event.trace_id == wanted)
    assert len(found) == 10
    terms = {"models": {"terms": {"field": "attributes.model"}}}
    buckets = node.search(index, EVERYTHING, size=0, aggs=terms)["aggregations"]["models"]["buckets"]
    assert (days_of(node, index), {bucket["key"]: bucket["doc_count"] for bucket in buckets}) == told(made)
    money = {"cost": {"sum": {"field": "attributes.metadata.cost"}}}
    paid = node.search(index, EVERYTHING, size=0, aggs=money)["aggregations"]["cost"]["value"]
    assert paid == pytest.approx(len(made) * 0.000123)


def test_every_event_once(node, open_delivery, calls, told):
    """Of many events none is missing and none is there twice, whatever the server goes through; each is found."""
    delivery = open_delivery(node.endpoint, {"batch_size": 1000, "async_workers": 2}, index="once-%Y.%m.%d")
    made = calls(COUNT)
    for event in made:
        delivery.append(event)
    wait_for(delivery, COUNT // 5)
    node.kill()
    node.restart()
    wait_for(delivery, COUNT // 2)
    node.restart()
    assert delivery.flush(300)
    assert stats_of(delivery).events_sent == COUNT
    found = ids_of(node, "once-*")
    assert (len(found), sum(found.values())) == (COUNT, COUNT)
    assert found.keys() == {event.id for event in made}
    check_queries(node, "once-*", made, told)


def test_queries(node, open_delivery, calls, told):
    """By trace, model, label and day another client finds what was recorded."""
    made = [
        event.with_attributes({**event.attributes, "otel_llm.label.tenant_id": f"t{number % 5}"})
        for number, event in enumerate(calls(500))
    ]
    delivery = open_delivery(node.endpoint, index="asked-%Y.%m.%d")
    for event in made:
        delivery.append(event)
    assert delivery.flush(60)
    check_queries(node, "asked-*", made, told)
    assert node.search("asked-*", {"term": {"labels.tenant_id": "t1"}})["hits"]["total"]["value"] == 100


@pytest.mark.parametrize("wanted", [name for name, made in FORMATS.items() if made.join is None])
def test_formats(node, open_delivery, call, wanted):
    """Every format has its types, and no shape of a prompt or of an attribute keeps a record away."""
    index = f"format-{wanted}"
    delivery = open_delivery(node.endpoint, {"format": wanted}, index=index, data_stream=True)
    messages = ["hello", [{"role": "user", "content": "hello"}], {"a": 1}]
    for one in messages:
        delivery.append(call(gen_ai__input__messages=one, number=1, long="x" * 40_000, error__type="é" * 20_000))
        delivery.append(call(number=1.5, otel_llm__label__a="1", otel_llm__label__a__b="2"))
    assert delivery.flush(60)
    assert (stats_of(delivery).events_sent, stats_of(delivery).dead) == (6, 0)
    assert node.search(index, {"term": {"labels.tenant_id": "t1"}})["hits"]["total"]["value"] == 6


@pytest.mark.parametrize("wanted", [name for name, made in FORMATS.items() if made.content_type == "application/json"])
def test_names(node, open_delivery, call, wanted, odd_name):
    """No name of a label, an attribute or of the resource's keeps a record away, and its label is found."""
    index = f"names-{wanted}"
    delivery = open_delivery(node.endpoint, {"format": wanted}, index=index)
    group = hashlib.md5(odd_name.encode(), usedforsecurity=False).hexdigest()
    event = call(**{f"otel_llm.label.{odd_name}": f"is {odd_name}", f"a{group}.{odd_name}": "1"})
    delivery.append(msgspec.structs.replace(event, resource=Resource({f"r{group}.{odd_name}": "1"})))
    assert delivery.flush(60)
    assert (stats_of(delivery).events_sent, stats_of(delivery).dead) == (1, 0)
    (hit,) = node.search(index, {"term": {"labels": f"is {odd_name}"}})["hits"]["hits"]
    assert hit["_source"]["labels"][odd_name] == f"is {odd_name}"


@pytest.mark.parametrize(("index", "copies"), [("again-%Y.%m.%d", 1), ("again", 2)], ids=["index", "data stream"])
async def test_again_after_a_rollover(node, call, index, copies):
    """A record that is sent again is there once, or in a data stream once for each backing index; its id tells."""
    event = call()
    batch = Batch([Record(event, FORMATS["gateway_log"].encode(event))])
    is_stream = "%" not in index
    options = {"url": node.endpoint, "index": index, "data_stream": is_stream}
    sink = plugins.make_sink(SinkSettings("calls", "elasticsearch", options))
    await sink.open()
    assert list((await sink.send(batch)).of(batch)) == [DELIVERED]
    if is_stream:
        await asyncio.to_thread(node.post, f"/{index}/_rollover", {})
    assert list((await sink.send(batch)).of(batch)) == [DELIVERED]
    await sink.close()
    ids = {"ids": {"cardinality": {"field": "event.id"}}}
    found = await asyncio.to_thread(
        node.search, index.replace("%Y.%m.%d", "*"), {"term": {"event.id": event.id}}, aggs=ids
    )
    assert (found["hits"]["total"]["value"], found["aggregations"]["ids"]["value"]) == (copies, 1)


def test_mapping_of_another(node, open_delivery, call, tmp_path):
    """A record that an index of somebody else cannot take goes to the dead letters, alone."""
    node.put("/strict", {"mappings": {"properties": {"attributes": {"properties": {"model": {"type": "long"}}}}}})
    delivery = open_delivery(node.endpoint, index="strict")
    for model in ("1", "gpt-4o", "2"):
        delivery.append(call(gen_ai__request__model=model))
    assert delivery.flush(60)
    assert (stats_of(delivery).events_sent, stats_of(delivery).dead) == (2, 1)
    (letters,) = tmp_path.rglob("*dead*/*.jsonl")
    assert "mapper_parsing_exception: failed to parse field [attributes.model] of type [long]" in letters.read_text()


class TestLogIn:
    @pytest.fixture
    async def send_as(self, secured, call):
        """
        Give a function that opens a sink for a user and sends a record.
        """

        async def send(user="", password="", **options):
            login = {"username": user, "password": password} if user else {}
            sink = plugins.make_sink(
                SinkSettings("calls", "elasticsearch", {"url": secured.endpoint, **login, **options})
            )
            event = call()
            batch = Batch([Record(event, FORMATS["gateway_log"].encode(event))])
            async with contextlib.AsyncExitStack() as stack:
                stack.push_async_callback(sink.close)
                await sink.open()
                (outcome,) = (await sink.send(batch)).of(batch)
            return outcome

        return send

    @pytest.mark.parametrize("options", [{}, {"index": "llm-calls", "data_stream": True}], ids=["index", "data stream"])
    async def test_rights(self, send_as, options):
        """The rights that the page names are enough to install the template and to write."""
        assert await send_as(USER, PASSWORD, **options) == DELIVERED

    @pytest.mark.parametrize(("user", "password"), [("", ""), (USER, "wrong"), ("nobody", PASSWORD)])
    async def test_unknown(self, send_as, user, password):
        """Who is not known is told so at once."""
        with pytest.raises(Unauthorized, match=r"^401 Unauthorized from 127\.0\.0\.1"):
            await send_as(user, password)

    @pytest.mark.parametrize(
        ("install_template", "right"), [(True, "indices:admin/index_template/put"), (False, "indices:data/write/bulk")]
    )
    async def test_without_rights(self, send_as, install_template, right):
        """Who lacks a right is told which."""
        with pytest.raises(Unauthorized, match=rf"^403 Forbidden from .*no permissions for \[{right}\]"):
            await send_as(STRANGER, PASSWORD, install_template=install_template)

    async def test_another_index(self, send_as):
        """A record for an index without the right to it waits."""
        outcome = await send_as(USER, PASSWORD, index="another")
        assert "403 Forbidden from 127.0.0.1: security_exception: no permissions" in outcome.reason
        assert isinstance(outcome, Retry)


def test_victorialogs(servers, open_delivery, calls, told):
    """Another server that speaks `_bulk` takes the same, and finds it by trace, model and day."""
    server = servers.start("victorialogs")
    delivery = open_delivery(
        f"{server.endpoint}/insert/elasticsearch", index="llm", headers={"VL-Time-Field": "@timestamp"}
    )
    made = calls(250, time.time_ns())
    for event in made:
        delivery.append(event)
    assert delivery.flush(60)
    found = server.query(f'"trace.id":={made[125].trace_id}')
    assert sorted(record["event.id"] for record in found) == sorted(event.id for event in made[120:130])
    assert (server.days(), server.counts("attributes.model")) == told(made)
