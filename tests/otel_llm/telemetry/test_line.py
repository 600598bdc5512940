from otel_llm.telemetry.event import Event, new_event_id
from otel_llm.telemetry.line import render

NINE_FIFTEEN = 1_768_209_300 * 10**9


def line(*, color: bool = False, **attributes) -> str:
    named = {name.replace("__", "."): value for name, value in attributes.items()}
    return render(Event(new_event_id(), "call", NINE_FIFTEEN, 0, 9, "INFO", named), color)


def test_a_call():
    """A line says when, what, how much, how long and how it went."""
    assert (
        line(
            gen_ai__operation__name="chat",
            gen_ai__provider__name="openai",
            gen_ai__request__model="gpt-4o",
            gen_ai__usage__input_tokens=1200,
            gen_ai__usage__output_tokens=56,
            gen_ai__usage__cache_read__input_tokens=1000,
            gen_ai__usage__cost=0.000123,
            gen_ai__response__time_to_first_chunk=0.2101,
            otel_llm__duration=0.8121,
            otel_llm__attempts=2,
            otel_llm__status="success",
        )
        == "09:15:00 openai/gpt-4o chat 1,200 in (1,000 cached) 56 out $0.000123 812 ms (first 210 ms) "
        "success after 2 attempts"
    )


def test_a_failure():
    """A failed call says why."""
    text = line(
        gen_ai__request__model="gpt-4o",
        otel_llm__status="rate_limited",
        error__type="rate_limit_exceeded",
        otel_llm__error__message="slow down",
        http__response__status_code=429,
    )
    assert text.endswith("rate_limited 429 rate_limit_exceeded slow down")


def test_unknown():
    """What is not known is said to be unknown, never 0."""
    text = line(otel_llm__cost__unknown_reason="no price for acme/x1")
    assert "tokens unknown cost unknown (no price for acme/x1)" in text
    assert "$" not in text


def test_foreign_record():
    """A record without any attribute of ours is still a line."""
    assert line() == "09:15:00 unknown model call tokens unknown success"


def test_colour():
    """Colours only when they are asked for."""
    assert "\x1b[32msuccess\x1b[0m" in line(color=True)
    assert "\x1b" not in line()


def test_escape_sequences():
    """Escape sequences and line breaks in values are left out."""
    assert "\x1b" not in line(gen_ai__request__model="\x1b[31mred\x1b[0m\n")
    assert " red " in line(gen_ai__request__model="\x1b[31mred\x1b[0m\n")
