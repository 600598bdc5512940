import asyncio

import openai
import pytest
from opentelemetry import baggage
from opentelemetry import context as otel_context

import otel_llm
from otel_llm.capture.labels import Surroundings, labels
from otel_llm.testing import Reply

QUESTION = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(name="client")
def _client(server):
    with openai.OpenAI(base_url=server.openai_url, api_key="sk-local") as client:
        yield client


class Rude:
    def __str__(self):
        raise RuntimeError("no")


class TestLabels:
    def test_inner_wins(self):
        """
        The innermost block's value counts, and the outer one is back behind it.
        """
        surroundings = Surroundings()
        with labels(tenant_id="t1", team="a"):
            with labels(tenant_id="t2"):
                inner = surroundings.read({}).labels()
            outer = surroundings.read({}).labels()

        assert (inner, outer) == ({"tenant_id": "t2", "team": "a"}, {"tenant_id": "t1", "team": "a"})

    def test_values_become_strings(self):
        """
        Numbers become strings, and None is left out.
        """
        with labels(run=7, nobody=None):
            assert Surroundings().read({}).labels() == {"run": "7"}

    def test_what_cannot_be_a_string_raises_nothing(self):
        """
        An object that refuses to be a string is named by its kind, from the caller's block and from the context.
        """
        with labels(odd=Rude()):
            assert Surroundings().read({}).labels() == {"odd": "[unreadable Rude]"}
        found = {"odd": Rude(), "list": ["a"], "empty": ""}
        surroundings = Surroundings(custom_labels=tuple(found), context=found.get)
        assert surroundings.read({}).labels() == {"odd": "[unreadable Rude]", "list": "['a']"}

    def test_on_record_and_span(self, client, telemetry):
        """
        Labels are on the call's span and record, identity under its own names.
        """
        with otel_llm.labels(tenant_id="t1", user_id="u1", session_id="s1", project_id="p1"):
            client.chat.completions.create(**QUESTION)
        record, (span,) = telemetry.record(), telemetry.spans("otel_llm")

        wanted = {"otel_llm.label.tenant_id": "t1", "user.id": "u1", "session.id": "s1"}
        assert wanted.items() <= record.items()
        assert wanted.items() <= dict(span.attributes).items()
        assert record["otel_llm.project.id"] == "p1"

    def test_in_tasks(self, server, telemetry):
        """
        Tasks started inside the block carry its labels, each its own.
        """

        async def ask(asking, tenant):
            with otel_llm.labels(tenant_id=tenant):
                await asking.chat.completions.create(**QUESTION)

        async def main():
            async with openai.AsyncOpenAI(base_url=server.openai_url, api_key="sk-local") as asking:
                await asyncio.gather(*(ask(asking, f"t{number}") for number in range(5)))

        asyncio.run(main())

        found = {record["otel_llm.label.tenant_id"] for record in telemetry.records(5)}
        assert found == {f"t{number}" for number in range(5)}

    def test_request_headers(self, client, telemetry):
        """
        The headers of a request tell for whom it is, in either spelling of organisation.
        """
        headers = {"x-project-id": "p1", "x-organisation-id": "o1", "x-user-id": "u1", "x-experiment-id": "e1"}
        client.chat.completions.create(**QUESTION, extra_headers=headers)
        record = telemetry.record()

        names = ("otel_llm.project.id", "otel_llm.org.id", "user.id", "otel_llm.experiment.id")
        assert [record[name] for name in names] == ["p1", "o1", "u1", "e1"]

    def test_answer_headers_come_last(self, server, client, telemetry):
        """
        A provider's reply names the project only where the caller did not.
        """
        server.default = Reply(headers={"x-project-id": "theirs", "x-organization-id": "o2"})
        client.chat.completions.create(**QUESTION, extra_headers={"x-project-id": "ours"})
        record = telemetry.record()

        assert (record["otel_llm.project.id"], record["otel_llm.org.id"]) == ("ours", "o2")

    def test_custom_labels(self, client, telemetry):
        """
        Context and baggage keys that the settings name become labels; context wins, other keys stay out.
        """
        otel_llm.configure(custom_labels=["tenant_id", "team"])
        context = baggage.set_baggage("tenant_id", "from-baggage")
        context = baggage.set_baggage("other", "x", context)
        context = baggage.set_baggage("team", "from-baggage", context)
        token = otel_context.attach(otel_context.set_value("team", "from-context", context))
        try:
            client.chat.completions.create(**QUESTION)
        finally:
            otel_context.detach(token)
        record = telemetry.record()

        found = {name: value for name, value in record.items() if name.startswith("otel_llm.label.")}
        assert found == {"otel_llm.label.tenant_id": "from-baggage", "otel_llm.label.team": "from-context"}

    def test_fallback(self, client, telemetry):
        """
        A fallback is a new call that names the one before.
        """
        with otel_llm.labels(parent_request_id="req_0", fallback_index=1, route_alias="fast"):
            client.chat.completions.create(**QUESTION)
        record = telemetry.record()

        assert (record["otel_llm.request.parent_id"], record["otel_llm.is_fallback"]) == ("req_0", True)
        assert (record["otel_llm.fallback.index"], record["otel_llm.route.alias"]) == (1, "fast")


class TestResponseCache:
    def test_hit(self, server, client, telemetry):
        """
        A semantic cache's headers make the call a cache hit.
        """
        headers = {"x-semantic-cache-hit": "true", "x-semantic-cache-type": "semantic", "x-cache-similarity": "0.93"}
        server.queue("/chat/completions", Reply(headers=headers))
        client.chat.completions.create(**QUESTION)
        record = telemetry.record()

        assert (record["otel_llm.event.type"], record["otel_llm.cache.hit"]) == ("cache_hit", True)
        assert (record["otel_llm.cache.type"], record["otel_llm.cache.similarity"]) == ("semantic", 0.93)

    def test_no_headers(self):
        """
        Without such headers there is no response cache.
        """
        assert Surroundings().read({}).response_cache({b"x-cache": b"MISS from squid"}) is None

    def test_asked_for(self, client, telemetry):
        """
        What the request asks of the cache is told even where the answer says nothing.
        """
        headers = {"x-bf-cache-threshold": "0.8", "x-bf-cache-type": "semantic"}
        client.chat.completions.create(**QUESTION, extra_headers=headers)
        record = telemetry.record()

        assert (record["otel_llm.cache.threshold"], record["otel_llm.cache.type"]) == (0.8, "semantic")
        assert "otel_llm.cache.hit" not in record
