"""A plugin's options, read from raw values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_llm.errors import Problem
from otel_llm.settings import Secret, read_options


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerOptions:
    topic: str
    brokers: tuple[str, ...] = ("localhost:9092",)
    acks: Literal["none", "leader", "all"] = "all"
    password: Secret | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    port: int = 1
    ca_file: str | None = None

    def __post_init__(self) -> None:
        if self.topic == self.acks:
            raise ValueError("a topic that is not called like the acks")


def test_all_fits():
    """Text from the environment becomes the options' types."""
    raw = {"topic": "llm", "brokers": "a:1,b:2", "acks": "LEADER", "password": "p", "headers": "a=b", "port": None}
    options, problems = read_options(BrokerOptions, raw, "sinks.kafka")
    assert problems == ()
    assert options == BrokerOptions(
        topic="llm", brokers=("a:1", "b:2"), acks="leader", password=Secret("p"), headers={"a": "b"}
    )


def test_all_mistakes():
    """Unknown, missing and ill-typed options are reported together."""
    raw = {"broker": "a", "acks": "lead", "port": "x"}
    options, problems = read_options(BrokerOptions, raw, "sinks.kafka", {"port": "environment OTEL_LLM_KAFKA_PORT"})
    assert options is None
    assert problems == (
        Problem(
            "sinks.kafka.broker",
            "an unknown option",
            "topic, brokers, acks, password, headers, port or ca_file",
            "brokers",
        ),
        Problem("sinks.kafka.acks", "'lead'", "none, leader or all", "leader"),
        Problem("environment OTEL_LLM_KAFKA_PORT", "'x'", "a whole number"),
        Problem("sinks.kafka.topic", "nothing", "a value, as it has no default"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PacedOptions:
    async_: bool = False


def test_option_named_like_a_keyword():
    """`async`, which no field can be called, is the field `async_`."""
    assert read_options(PacedOptions, {"async": "yes"}, "sinks.kafka") == (PacedOptions(async_=True), ())
    _, (problem,) = read_options(PacedOptions, {"async": "perhaps", "async_": None}, "sinks.kafka")
    assert problem == Problem("sinks.kafka.async", "'perhaps'", "true or false")


def test_options_that_contradict_each_other():
    """What the options class itself refuses is a problem too."""
    _, (problem,) = read_options(BrokerOptions, {"topic": "all"}, "sinks.kafka")
    assert problem.expected == "a topic that is not called like the acks"


class TestSecretFiles:
    def test_read(self, tmp_path):
        """`password_file` names a file whose text, without the line's end, is the password."""
        (tmp_path / "p").write_text("hunter2\n")
        options, _ = read_options(BrokerOptions, {"topic": "t", "password_file": str(tmp_path / "p")}, "s")
        assert options
        assert options.password == Secret("hunter2")

    def test_missing(self, tmp_path):
        """A file that is not there is a problem of that option."""
        _, (problem,) = read_options(BrokerOptions, {"topic": "t", "password_file": str(tmp_path / "p")}, "s")
        assert (
            problem.where,
            problem.found,
        ) == ("s.password_file", "a file that cannot be read (No such file or directory)")

    def test_an_option_of_that_name_is_itself(self):
        """An option that really ends in `_file` is not taken for a twin."""
        options, _ = read_options(BrokerOptions, {"topic": "t", "ca_file": "ca.pem"}, "s")
        assert options
        assert options.ca_file == "ca.pem"


class TestSecrets:
    @given(st.text(min_size=8))
    def test_never_shown(self, value):
        """Neither repr, text nor format of a secret shows it; reveal does."""
        secret = Secret(value)
        assert f"{secret!r} {secret} {secret}" == "Secret('********') ******** ********"
        assert secret.reveal() == value

    @pytest.mark.parametrize(
        "raw",
        [
            {"topic": "t", "password": ["canary"]},
            {"topic": "t", "headers": "Authorization canary"},
            {"topic": "t", "headers": '{"canary'},
            {"topic": "t", "port": "https://user:canary@host"},
            {"topic": "t", "passwrod": "canary"},
        ],
    )
    def test_never_in_a_problem(self, raw):
        """A problem never quotes what may be a secret."""
        _, problems = read_options(BrokerOptions, raw, "s")
        assert len(problems) == 1
        assert "canary" not in str(problems)
