"""Bearer tokens: where they come from, and what is said when there is none."""

import json
import time

import pytest
from otel_llm_exporters import kafka_oauth
from otel_llm_exporters.kafka import KafkaOptions

from otel_llm.errors import NotDelivered, Unauthorized
from otel_llm.settings import read_options


def options(**changes):
    raw = {"brokers": "k1", "topic": "calls", "sasl_mechanism": "oauthbearer", **changes}
    found, problems = read_options(KafkaOptions, raw, "sinks.kafka")
    assert not problems
    return found


def client(url, **changes):
    return options(sasl_token_url=url, sasl_client_id="sh:op", sasl_client_secret="open-sesame", **changes)


def test_static():
    """A token that is always the same needs no server."""
    token = kafka_oauth.token(options(sasl_token="abc"))
    assert (token.text, token.expires > time.time() + 86_400) == ("abc", True)


def test_fetched(login_server):
    """A token is asked for with our credentials, as OAuth writes them, and lives as long as the server says."""
    answer = json.dumps({"access_token": "abc", "expires_in": 60, "token_type": "Bearer"}).encode()
    with login_server(200, answer) as (url, seen):
        token = kafka_oauth.token(client(url, sasl_scope="kafka write"))
    assert (token.text, 50 < token.expires - time.time() <= 60) == ("abc", True)
    assert seen == [
        ("Basic c2glM0FvcDpvcGVuLXNlc2FtZQ==", {"grant_type": ["client_credentials"], "scope": ["kafka write"]})
    ]


@pytest.mark.parametrize(
    ("status", "answer", "kind", "words"),
    [
        (401, b"open-sesame is wrong", Unauthorized, "no token for Kafka: status 401"),
        (503, b"", NotDelivered, "no token for Kafka: status 503"),
        (200, b"<html>", NotDelivered, "no token for Kafka: DecodeError"),
        (200, b"{}", NotDelivered, "no token for Kafka: ValidationError"),
    ],
)
def test_none(login_server, status, answer, kind, words):
    """A server that gives no token is told of, without what it said."""
    with login_server(status, answer) as (url, _), pytest.raises(NotDelivered) as caught:
        kafka_oauth.token(client(url))
    assert (type(caught.value), str(caught.value)) == (kind, words)


def test_nobody_there(login_server):
    """A server that cannot be reached is trouble that passes."""
    with login_server(200, b"") as (url, _):
        pass
    with pytest.raises(NotDelivered, match="no token for Kafka: URLError"):
        kafka_oauth.token(client(url))
