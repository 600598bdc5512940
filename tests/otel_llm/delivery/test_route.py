import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llm.delivery.route import FIELDS, Route, where_problems
from otel_llm.delivery.spec import SinkSpec
from otel_llm.errors import SettingsError
from otel_llm.telemetry.event import Event, Resource, new_event_id

ATTRIBUTES = {
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.usage.cost": 0.75,
    "gen_ai.request.stream": True,
    "otel_llm.event.type": "error",
    "otel_llm.label.tenant_id": "t1",
    "http.response.status_code": 429,
    "server.address": "api.openai.com",
}


def event(**changes) -> Event:
    resource = Resource({"service.name": "shop"})
    return Event(new_event_id(), "test", 0, 0, 9, "INFO", {**ATTRIBUTES, **changes}, resource=resource)


def route(**options) -> Route:
    return Route(SinkSpec(name="kafka", make=list, encoder=repr, **options))


@pytest.mark.parametrize(
    ("where", "fits"),
    [
        ({}, True),
        ({"provider": "openai"}, True),
        ({"provider": "anthropic"}, False),
        ({"model": "gpt-*"}, True),
        ({"model": "!gpt-*"}, False),
        ({"event_type": ["error", "rate_limit"]}, True),
        ({"event_type": ["api_call"]}, False),
        ({"label.tenant_id": "t1"}, True),
        ({"label.tenant_id": "t2"}, False),
        ({"label.other": None}, True),
        ({"label.tenant_id": None}, False),
        ({"cost_usd": ">0.5"}, True),
        ({"cost_usd": "<= 0.5"}, False),
        ({"cost_usd": 0.75}, True),
        ({"http_status": ">=429"}, True),
        ({"http_status": 429}, True),
        ({"http_status": "429"}, True),
        ({"http_status": "4*"}, True),
        ({"streaming": True}, True),
        ({"streaming": "true"}, True),
        ({"streaming": 1}, False),
        ({"server.address": "*.openai.com"}, True),
        ({"resource.service.name": "shop"}, True),
        ({"user_id": "*"}, False),
        ({"user_id": "!bob"}, True),
        ({"input_tokens": ">0"}, False),
        ({"provider": "openai", "cost_usd": ">1"}, False),
    ],
)
def test_where(where, fits):
    """All conditions must fit; of a list one is enough."""
    assert (route(where=where).apply(event()) is not None) is fits


def test_event_type_of_others():
    """A record without our event type is an `api_call`."""
    other = event()
    other.attributes.pop("otel_llm.event.type")
    assert route(where={"event_type": "api_call"}).apply(other) is not None


class TestProblems:
    def test_nearest_name(self):
        """A misspelt name is reported with the place and the nearest known one."""
        (problem,) = where_problems({"provdier": "openai"}, "sinks.kafka.where")
        assert (problem.where, problem.found, problem.nearest) == ("sinks.kafka.where", "'provdier'", "provider")

    def test_all_at_once(self):
        """All that is wrong is told together."""
        where = {"modle": "x", "cost_usd": ">much", "status": {"a": 1}}
        with pytest.raises(SettingsError) as raised:
            route(where=where)
        assert len(raised.value.problems) == 3

    @pytest.mark.parametrize("name", [*FIELDS, "label.x", "resource.service.name", "gen_ai.request.top_p"])
    def test_known_names(self, name):
        """Short names, labels, resource and full attribute names are all known."""
        assert where_problems({name: "x"}, "here") == []


class TestCopy:
    @pytest.mark.parametrize(
        "name",
        [
            "gen_ai.input.messages",
            "gen_ai.output.messages",
            "gen_ai.system_instructions",
            "gen_ai.tool.definitions",
            "gen_ai.tool.call.arguments",
            "gen_ai.tool.call.result",
            "gen_ai.retrieval.query.text",
            "gen_ai.retrieval.documents",
            "gen_ai.memory.records",
            "gen_ai.prompt.variable.user_name",
            "gen_ai.prompt",
            "gen_ai.completion",
            "gen_ai.prompt.0.content",
        ],
    )
    def test_content(self, name):
        """`content: none` takes what was said out of the copy, and leaves the event as it is."""
        original = event(**{name: "canary"})
        copy = route(content="none").apply(original)
        assert "canary" not in repr(copy)
        assert original.get(name) == "canary"
        assert copy.id == original.id

    def test_body(self):
        """Nor does the copy keep a body: in other instrumentations' records that is what was said."""
        original = msgspec.structs.replace(event(), body={"content": "canary"})
        assert route(content="none").apply(original).body is None
        assert route(redact=["user.id"]).apply(original).body == {"content": "canary"}

    def test_no_content(self):
        """All else stays, the name of a prompt too."""
        original = event(**{"gen_ai.prompt.name": "greeting", "gen_ai.output.type": "text"})
        assert route(content="none").apply(original).attributes == original.attributes

    def test_redact(self):
        """`redact` replaces the values of the attributes it names."""
        copy = route(redact=["otel_llm.label.*"]).apply(event())
        assert copy.labels == {"tenant_id": "[REDACTED]"}
        assert copy.get("gen_ai.provider.name") == "openai"

    def test_untouched(self):
        """Without a reason to change it the event is not copied."""
        original = event()
        assert route().apply(original) is original


class TestSample:
    @given(st.floats(0, 1), st.floats(0, 1))
    def test_the_smaller_sample_is_part_of_the_larger(self, one, other):
        """Sinks with different shares choose from the same events, and always the same ones."""
        small, large = sorted((one, other))
        events = [event() for _ in range(20)]
        chosen = [each for each in events if route(sample=small).apply(each)]
        assert all(route(sample=large).apply(each) for each in chosen)

    def test_share(self):
        """About the share asked for is chosen."""
        half = route(sample=0.5)
        assert 400 < sum(half.apply(event()) is not None for _ in range(1000)) < 600

    def test_none(self):
        """A sample of 0 chooses nothing."""
        assert route(sample=0.0).apply(event()) is None

    def test_foreign_ids(self):
        """Any id can be sampled."""
        foreign = Event("not-a-uuid!", "test", 0, 0, 9, "INFO", {})
        assert (route(sample=0.5).apply(foreign) is None) == (route(sample=0.5).apply(foreign) is None)
