"""A broker that is killed and comes back, by the whole road from journal to topic."""

import collections
import os
import time

import pytest

from otel_llm.telemetry.event import Event, Resource, new_event_id
from tests.servers import kafka
from tests.servers._kafka_reader import messages

pytestmark = [pytest.mark.server, pytest.mark.slow]

EVENTS = int(os.environ.get("TEST_OTEL_LLM_KAFKA_EVENTS", "200000"))


@pytest.fixture
def own_broker(servers):
    """
    Give a broker that may be killed, with the topic `calls` of four partitions.
    """
    broker = servers.start("kafka")
    broker.create("calls", 4)
    yield broker
    broker.stop()


def wait_for(condition, timeout=60):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


def stats(delivery):
    return delivery.stats()["kafka"]


class TestRestart:
    @pytest.mark.parametrize("options", [{}, {"async": True}, {"required_acks": "leader"}], ids=str)
    def test_in_mid_batch(self, own_broker, deliver, event, options):
        """A broker that is killed with a batch on its way gets everything when it is back."""
        delivery = deliver(own_broker.endpoint, "calls", **options)
        made = [event(number, trace_id=f"{number:032x}") for number in range(6000)]
        for each in made[:3000]:
            delivery.append(each)
        wait_for(lambda: stats(delivery).events_sent > 300)
        own_broker.kill()
        for each in made[3000:]:
            delivery.append(each)
        own_broker.restart()
        assert delivery.flush(90)
        arrived = {message.headers["event_id"].decode() for message in messages(own_broker.endpoint, "calls")}
        assert arrived == {each.id for each in made}
        assert stats(delivery).unaccounted == 0

    def test_paused(self, own_broker, deliver, event):
        """A broker that stands still for a while gets each record once."""
        delivery = deliver(own_broker.endpoint, "calls")
        delivery.append(event(0))
        assert delivery.flush(30)
        own_broker.pause()
        made = [event(number) for number in range(1, 500)]
        for each in made:
            delivery.append(each)
        assert not delivery.flush(1)
        own_broker.resume()
        assert delivery.flush(60)
        arrived = [message.headers["event_id"].decode() for message in messages(own_broker.endpoint, "calls")]
        assert (len(arrived), set(arrived) >= {each.id for each in made}) == (500, True)


class TestRefused:
    def test_until_it_is_not(self, own_broker, deliver, event):
        """Records wait while the login is refused: the breaker opens at once, and the report holds no secret."""
        login = {"sasl_mechanism": "scram-sha-256", "sasl_username": kafka.USER, "sasl_password": "open-sesame"}
        delivery = deliver(own_broker.at("sasl"), "calls", timeout_ms=5000, **login)
        delivery.append(event(0))
        wait_for(lambda: stats(delivery).state == "broken")
        found = stats(delivery)
        assert (found.send_errors, found.pending_events + found.events_in_flight) == (1, 1)
        assert "refuse our credentials" in found.last_error
        assert "open-sesame" not in found.last_error


class TestManyEvents:
    def test_killed_twice(self, own_broker, deliver, record_property):
        """Nothing is missing after two power cuts of the broker; what came twice has the same event id."""
        delivery = deliver(own_broker.endpoint, "calls", journal_bytes=2**34, batch_size=2000, compression="lz4")
        expected = set()
        cuts = [EVENTS // 3, EVENTS * 2 // 3]
        begun = time.monotonic()
        for made in many(EVENTS):
            expected.add(made.id)
            delivery.append(made)
            if cuts and len(expected) % 1000 == 0 and stats(delivery).events_sent >= cuts[0]:
                cuts.pop(0)
                own_broker.kill()
                own_broker.restart()
        while cuts:
            wait_for(lambda: stats(delivery).events_sent >= cuts[0], 300)
            cuts.pop(0)
            own_broker.kill()
            own_broker.restart()
        assert delivery.flush(600)
        seconds = time.monotonic() - begun
        arrived = collections.Counter(message.headers["event_id"] for message in messages(own_broker.endpoint, "calls"))
        found = stats(delivery)
        record_property("seconds", round(seconds))
        record_property("twice", arrived.total() - len(arrived))
        assert {event_id.decode() for event_id in arrived} == expected
        assert (found.events_sent, found.dropped, found.dead, found.unaccounted) == (EVENTS, 0, 0, 0)


def many(count):
    resource = Resource({"service.name": "shop"})
    for number in range(count):
        now = time.time_ns()
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.input_tokens": number,
            "gen_ai.usage.output_tokens": 56,
            "otel_llm.status": "success",
        }
        trace_id = f"{number // 3:032x}"
        yield Event(new_event_id(), "call", now, now, 9, "INFO", attributes, trace_id, "b" * 16, resource=resource)
