"""Elasticsearch against real servers: each event once through restarts, and found by what another client asks."""

import contextlib
import time
from collections import Counter
from datetime import UTC, datetime

import pytest

from otel_llm.delivery import breaker, setup
from otel_llm.delivery.delivery import Delivery
from otel_llm.delivery.spec import DeliverySettings
from otel_llm.formats import FORMATS
from otel_llm.settings import SinkCommon, SinkSettings

pytestmark = [pytest.mark.slow, pytest.mark.server]

MODELS = ("gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5", 'x"; drop')
EVERYTHING = {"match_all": {}}
COUNT = 100_000
DAY = 86_400 * 10**9
NOON = 1_768_219_200_000_000_000


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


def test_every_event_once(node, open_delivery, call):
    """Of a hundred thousand events none is missing and none is there twice, whatever the server goes through."""
    delivery = open_delivery(node.endpoint, {"batch_size": 1000, "async_workers": 2}, index="once-%Y.%m.%d")
    made = []
    for number in range(COUNT):
        event = call(NOON + number % 3 * DAY, gen_ai__request__model=MODELS[number % 4])
        made.append(event)
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


def test_queries(node, open_delivery, call):
    """By trace, model, label and day another client finds what was recorded."""
    made = [
        call(
            NOON + number % 3 * DAY,
            gen_ai__request__model=MODELS[number % 4],
            otel_llm__label__tenant_id=f"t{number % 5}",
        )
        for number in range(500)
    ]
    delivery = open_delivery(node.endpoint, index="asked-%Y.%m.%d")
    for event in made:
        delivery.append(event)
    assert delivery.flush(60)

    def count(field, value):
        return node.search("asked-*", {"term": {field: value}}, size=0)["hits"]["total"]["value"]

    assert count("trace.id", made[0].trace_id) == 500
    assert [count("attributes.model", model) for model in MODELS] == [125] * 4
    assert count("labels.tenant_id", "t1") == 100
    told = Counter(datetime.fromtimestamp(event.timestamp_ns // 10**9, UTC).date().isoformat() for event in made)
    assert days_of(node, "asked-*") == told
    money = {"cost": {"sum": {"field": "attributes.metadata.cost"}}}
    paid = node.search("asked-*", EVERYTHING, size=0, aggs=money)["aggregations"]["cost"]["value"]
    assert paid == pytest.approx(500 * 0.000123)


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


def test_victorialogs(servers, open_delivery, call):
    """Another server that speaks `_bulk` takes the same."""
    server = servers.get("victorialogs")
    delivery = open_delivery(
        f"{server.endpoint}/insert/elasticsearch", index="llm", headers={"VL-Time-Field": "@timestamp"}
    )
    made = [call(time.time_ns()) for _ in range(250)]
    for event in made:
        delivery.append(event)
    assert delivery.flush(60)
    found = server.query('"trace.id":' + "a" * 32)
    assert sorted(record["event.id"] for record in found) == sorted(event.id for event in made)
