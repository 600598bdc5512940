import msgspec
import pytest

from otel_llm.call import Call, Failure, Parameters, ResponseCache, Usage
from otel_llm.pricing.cost import Cost
from otel_llm.telemetry import record, semconv
from otel_llm.telemetry.record import MAX_MESSAGE, call_of, described, event_type, priced, recorded, started
from otel_llm.telemetry.redaction import Redactor

UNKNOWN = Cost.unknown("no price for gpt-4o")
KEY = "sk-proj-abcdefghijklmnop1234"


def record_of(call, cost=UNKNOWN):
    """
    Give a record's attributes as the pipeline puts them together.
    """
    begun = started(call.operation, call.provider, call.request_model, call.server_address, call.server_port)
    return {**begun, **described(call, cost), **recorded(call, cost, "event-1", Redactor())}


class TestTables:
    @pytest.mark.parametrize(
        ("struct", "fields"), [(Parameters, semconv.PARAMETERS), (Usage, semconv.USAGE)], ids=["parameters", "usage"]
    )
    def test_every_field_has_a_row(self, struct, fields):
        """
        A field that somebody adds has to be given an attribute, or None on purpose.
        """
        assert tuple(fields) == struct.__struct_fields__

    def test_every_part_of_a_cost_has_an_attribute(self):
        """
        No part of the price is lost on its way into the record.
        """
        told = {"total", "source", "unit_prices", "price_version", "unknown_reason", "discount_factor"}
        assert set(record._COST_PARTS.values()) == set(Cost.__struct_fields__) - told


class TestFullCall:
    def test_everything_known_is_told(self, full_call, full_cost):
        """
        Every fact of a call and its cost stands in the record, under its own name.
        """
        assert record_of(full_call, full_cost) == {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o",
            "server.address": "api.openai.com",
            "server.port": 443,
            "otel_llm.attempts": 3,
            "gen_ai.request.max_tokens": 100,
            "gen_ai.request.temperature": 0.0,
            "gen_ai.request.top_p": 0.9,
            "gen_ai.request.top_k": 40,
            "gen_ai.request.frequency_penalty": 0.5,
            "gen_ai.request.presence_penalty": 0.25,
            "gen_ai.request.seed": 42,
            "gen_ai.request.choice.count": 2,
            "gen_ai.request.stop_sequences": ("END",),
            "gen_ai.request.reasoning.level": "low",
            "gen_ai.output.type": "json",
            "gen_ai.request.encoding_formats": ("float",),
            "gen_ai.embeddings.dimension.count": 8,
            "gen_ai.request.previous_response.id": "resp_0",
            "gen_ai.request.stream_cursor": "7",
            "gen_ai.request.stream": True,
            "gen_ai.usage.input_tokens": 1,
            "gen_ai.usage.output_tokens": 2,
            "gen_ai.usage.cache_read.input_tokens": 3,
            "gen_ai.usage.cache_write.input_tokens": 4,
            "otel_llm.cache_write_1h_tokens": 5,
            "gen_ai.usage.reasoning.output_tokens": 6,
            "gen_ai.usage.audio.input_tokens": 7,
            "gen_ai.usage.audio.output_tokens": 8,
            "gen_ai.usage.audio.cache_read.input_tokens": 9,
            "gen_ai.usage.image.input_tokens": 10,
            "gen_ai.usage.image.output_tokens": 11,
            "gen_ai.usage.image.cache_read.input_tokens": 12,
            "gen_ai.usage.text.input_tokens": 13,
            "gen_ai.usage.text.output_tokens": 14,
            "gen_ai.usage.text.cache_read.input_tokens": 15,
            "otel_llm.web_searches": 16,
            "otel_llm.usage_source": "provider",
            "gen_ai.response.model": "gpt-4o-2024-08-06",
            "gen_ai.response.id": "chatcmpl-1",
            "gen_ai.response.status": "completed",
            "gen_ai.response.finish_reasons": ("stop", "length"),
            "gen_ai.response.time_to_first_chunk": 0.5,
            "http.response.status_code": 200,
            "user.id": "u",
            "session.id": "s",
            "gen_ai.conversation.id": "c",
            "openai.api.type": "chat_completions",
            "openai.request.service_tier": "flex",
            "openai.response.service_tier": "default",
            "openai.response.system_fingerprint": "fp_1",
            "otel_llm.label.team": "search",
            "gen_ai.usage.cost": 0.055,
            "operation.cost": 0.055,
            "otel_llm.cost.source": "book",
            "otel_llm.cost.price_version": "genai-prices 0.2.3",
            "otel_llm.cost.input": 0.001,
            "otel_llm.cost.output": 0.002,
            "otel_llm.cost.cache_read": 0.003,
            "otel_llm.cost.cache_write": 0.004,
            "otel_llm.cost.reasoning": 0.005,
            "otel_llm.cost.audio": 0.006,
            "otel_llm.cost.image": 0.007,
            "otel_llm.cost.tools": 0.008,
            "otel_llm.cost.requests": 0.009,
            "otel_llm.cost.embedding": 0.01,
            "otel_llm.cost.discount": 0.011,
            "otel_llm.event.id": "event-1",
            "otel_llm.event.type": "api_call",
            "otel_llm.status": "success",
            "otel_llm.start_time_unix_nano": 1_700_000_000_000_000_000,
            "otel_llm.duration": 2.0,
            "otel_llm.time_to_first_byte": 0.1,
            "otel_llm.tokens_per_second": 2 / 1.5,
            "otel_llm.request.id": "req_3",
            "otel_llm.api.type": "openai_chat",
            "http.request.method": "POST",
            "url.path": "/v1/chat/completions",
            "http.request.body.size": 100,
            "http.response.body.size": 200,
            "otel_llm.attempt_log": [
                {"seconds": 0.3, "status": 429, "request_id": "req_1", "retry_after": 0.5},
                {"seconds": 0.4, "error_type": "ConnectError"},
                {"seconds": 0.9, "status": 200, "request_id": "req_3"},
            ],
            "otel_llm.project.id": "p",
            "otel_llm.project.name": "project",
            "otel_llm.org.id": "o",
            "otel_llm.experiment.id": "e",
            "otel_llm.request.parent_id": "req_0",
            "otel_llm.is_fallback": True,
            "otel_llm.fallback.index": 1,
            "otel_llm.route.alias": "fast",
            "otel_llm.key.id": "k",
            "otel_llm.key.name": "main",
            "otel_llm.key.hash": "ab" * 32,
            "otel_llm.virtual_key.id": "vk",
            "otel_llm.virtual_key.name": "virtual",
            "otel_llm.ratelimit.requests.limit": 1,
            "otel_llm.ratelimit.requests.remaining": 2,
            "otel_llm.ratelimit.requests.reset": "3s",
            "otel_llm.ratelimit.tokens.limit": 4,
            "otel_llm.ratelimit.tokens.remaining": 5,
            "otel_llm.ratelimit.tokens.reset": "6s",
            "otel_llm.cache.hit": False,
            "otel_llm.cache.type": "semantic",
            "otel_llm.cache.store": "redis",
            "otel_llm.cache.similarity": 0.5,
            "otel_llm.cache.threshold": 0.9,
            "otel_llm.cache.embedding.provider": "openai",
            "otel_llm.cache.embedding.model": "text-embedding-3-small",
            "otel_llm.cache.embedding.input_tokens": 7,
        }

    def test_every_field_of_the_call_is_set(self, full_call):
        """
        The fixture above leaves nothing of a call out, so that a new field has to be thought of.
        """
        unset = {"method", "reported_cost", "processing", "billable", "failure"}
        bare = msgspec.structs.asdict(_empty())
        same = {name for name, value in msgspec.structs.asdict(full_call).items() if value == bare[name]}
        assert same == unset


class TestAbsent:
    def test_bare_call(self, make_call):
        """
        What is not known has no attribute: neither null nor 0.
        """
        assert record_of(make_call()) == {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "openai.api.type": "chat_completions",
            "otel_llm.attempts": 1,
            "otel_llm.usage_source": "absent",
            "otel_llm.event.id": "event-1",
            "otel_llm.event.type": "api_call",
            "otel_llm.status": "success",
            "otel_llm.start_time_unix_nano": 1_700_000_000_000_000_000,
            "otel_llm.duration": 2.0,
            "otel_llm.request.id": "event-1",
            "otel_llm.api.type": "openai_chat",
            "otel_llm.cost.unknown_reason": "no price for gpt-4o",
            "http.request.method": "POST",
            "url.path": "",
        }

    def test_reported_zero_stays_zero(self, make_call):
        """
        A provider that reports no cached tokens has said so.
        """
        told = record_of(make_call(usage=Usage(input_tokens=0, cache_read_tokens=0)))
        assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.cache_read.input_tokens"]) == (0, 0)
        assert "gen_ai.usage.output_tokens" not in told

    def test_unknown_cost_has_no_amount(self, make_call):
        """
        A call that nobody can price says why, and costs nothing in particular.
        """
        told = record_of(make_call())
        assert not {"gen_ai.usage.cost", "operation.cost", "otel_llm.cost.source"} & told.keys()
        assert told["otel_llm.cost.unknown_reason"] == "no price for gpt-4o"

    def test_free_call_costs_zero(self, make_call):
        """
        A price of 0 is a price.
        """
        told = record_of(make_call(), Cost(total=0, source="operator"))
        assert (told["gen_ai.usage.cost"], told["operation.cost"]) == (0.0, 0.0)

    def test_cost_on_spans_is_one_number(self, full_call, full_cost):
        """
        Spans carry the total and its source; no other number of ours stands under `gen_ai.usage.`.
        """
        shared = described(full_call, full_cost)
        assert {name for name in shared if "cost" in name} == {
            "gen_ai.usage.cost",
            "operation.cost",
            "otel_llm.cost.source",
        }

    @pytest.mark.parametrize("count", [None, 1])
    def test_one_choice_goes_without_saying(self, make_call, count):
        """
        The number of choices is told when it is not 1.
        """
        assert "gen_ai.request.choice.count" not in described(
            make_call(parameters=Parameters(choice_count=count)), UNKNOWN
        )

    def test_automatic_service_tier_is_not_told(self, make_call):
        """
        `auto` is what a request without a tier means.
        """
        told = described(make_call(parameters=Parameters(service_tier="auto")), UNKNOWN)
        assert "openai.request.service_tier" not in told

    def test_openai_attributes_are_openais(self, make_call):
        """
        A provider that speaks OpenAI's format is not OpenAI.
        """
        groq = make_call(provider="groq", service_tier="on_demand", parameters=Parameters(service_tier="flex"))
        assert not [name for name in record_of(groq) if name.startswith("openai.")]

    def test_port_needs_an_address(self):
        """
        A port alone names no server.
        """
        assert "server.port" not in started("chat", "openai", None, None, 443)


class TestStreams:
    def test_stream_without_content(self, make_call):
        """
        A stream that broke off before its first chunk has no time to it.
        """
        told = record_of(make_call(stream=True))
        assert told["gen_ai.request.stream"] is True
        assert not {"gen_ai.response.time_to_first_chunk", "otel_llm.tokens_per_second"} & told.keys()

    def test_no_stream(self, make_call):
        """
        Other calls say nothing of streams, not even false.
        """
        told = record_of(make_call(usage=Usage(output_tokens=5)))
        assert not {"gen_ai.request.stream", "otel_llm.tokens_per_second"} & told.keys()

    def test_instant_stream_has_no_speed(self, make_call):
        """
        All chunks at once are no infinite number of tokens per second.
        """
        call = make_call(stream=True, first_chunk_ns=2_000_000_000, usage=Usage(output_tokens=5))
        assert "otel_llm.tokens_per_second" not in record_of(call)


class TestEventTypes:
    @pytest.mark.parametrize(
        ("known", "expected"),
        [
            ({}, "api_call"),
            ({"status": "cancelled"}, "api_call"),
            ({"status": "error", "failure": Failure("x")}, "error"),
            ({"status": "timeout", "failure": Failure("x")}, "error"),
            ({"status": "rate_limited", "failure": Failure("x")}, "rate_limit"),
            ({"cache": ResponseCache(hit=True)}, "cache_hit"),
            ({"cache": ResponseCache(hit=False)}, "api_call"),
            ({"cache": ResponseCache(hit=True), "status": "error", "failure": Failure("x")}, "cache_hit"),
        ],
    )
    def test_rules(self, make_call, known, expected):
        """
        A cache hit, a rate limit and a failure are told apart, in this order; an abandoned stream is an ordinary call.
        """
        assert event_type(make_call(**known)) == expected


class TestFailures:
    def test_words_are_redacted(self, make_call):
        """
        A key in the provider's message or in a stack trace does not leave.
        """
        failure = Failure("invalid_api_key", f"Incorrect API key provided: {KEY}.", "openai.AuthenticationError", KEY)
        told = record_of(make_call(status="error", failure=failure))
        assert told["error.type"] == "invalid_api_key"
        assert told["otel_llm.error.message"] == "Incorrect API key provided: [REDACTED]."
        assert told["exception.message"] == told["otel_llm.error.message"]
        assert (told["exception.type"], told["exception.stacktrace"]) == ("openai.AuthenticationError", "[REDACTED]")

    def test_long_messages_are_cut(self, make_call):
        """
        An error message of a megabyte is not a record of a megabyte.
        """
        told = record_of(make_call(status="error", failure=Failure("x", "word " * 200_000)))
        assert len(told["otel_llm.error.message"]) == MAX_MESSAGE

    def test_no_key_is_cut_in_two(self, make_call):
        """
        A key that the cut would halve is redacted as a whole, not left as a stump that no pattern knows.
        """
        message = "x" * (MAX_MESSAGE - 8) + f" {KEY}"
        told = record_of(make_call(status="error", failure=Failure("x", message)))
        assert "sk-pro" not in told["otel_llm.error.message"]

    def test_provider_error_is_no_exception(self, make_call):
        """
        Without an exception there are no `exception.*` attributes.
        """
        told = record_of(make_call(status="error", failure=Failure("overloaded_error", "Overloaded")))
        assert not [name for name in told if name.startswith("exception.")]

    def test_error_type_is_on_the_span(self, make_call):
        """
        Span and record share `error.type`, not the words.
        """
        shared = described(make_call(status="error", failure=Failure("x", "some words")), UNKNOWN)
        assert shared["error.type"] == "x"
        assert "some words" not in shared.values()


class TestRepricing:
    def test_call_comes_back_from_its_record(self, full_call, full_cost):
        """
        What a price depends on survives the way through the record, so that a price can be set later.
        """
        back = call_of(record_of(full_call, full_cost))
        for field in ("operation", "provider", "api", "request_model", "response_model", "service_tier", "usage"):
            assert getattr(back, field) == getattr(full_call, field)
        assert back.parameters.service_tier == full_call.parameters.service_tier
        assert back.started_ns == full_call.started_ns

    def test_new_price_replaces_the_old(self, full_call, full_cost):
        """
        A priced record is what it would have been, had the price been known at once; nothing of the reason remains.
        """
        waiting = record_of(full_call, Cost.unknown("book_loading"))
        assert priced(waiting, full_cost) == record_of(full_call, full_cost)

    def test_no_price_leaves_the_reason(self, full_call, full_cost):
        """
        Pricing again may also end in not knowing.
        """
        assert priced(record_of(full_call, full_cost), UNKNOWN) == record_of(full_call, UNKNOWN)


def _empty():
    """
    Give a call that differs from the full one in whatever that sets.
    """
    return Call(operation="", provider="", api="", started_ns=0, duration_ns=0, status="error")
