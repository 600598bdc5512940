"""The sink on a real broker, with either client; what arrived is counted by librdkafka's consumer."""

import base64
import json
import time

import pytest

from otel_llm.delivery.sink import Delivered
from otel_llm.errors import NotDelivered, Unauthorized
from tests.servers import kafka
from tests.servers._kafka_reader import read

pytestmark = pytest.mark.server

LOGIN = {"sasl_username": kafka.USER, "sasl_password": kafka.PASSWORD}


def encoded(part):
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def bearer(subject):
    """
    Give a token that nobody signed, as the broker takes them.
    """
    now = int(time.time())
    return f"{encoded({'alg': 'none'})}.{encoded({'sub': subject, 'iat': now, 'exp': now + 600})}."


class TestSending:
    @pytest.mark.parametrize("acks", ["none", "leader", "all"])
    @pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
    async def test_compression_and_acks(self, opened, broker, topic, batch, arrived, ids, compression, acks):
        """Every compression arrives, whoever has to acknowledge it."""
        sent = batch(100)
        async with opened(broker.endpoint, topic, compression=compression, required_acks=acks) as sink:
            receipt = await sink.send(sent)
            if acks == "none":
                await self.there(broker, topic, 100, arrived)
        assert {type(outcome).__name__ for outcome in receipt.of(sent)} == {"Delivered"}
        assert arrived(broker.endpoint, topic) == ids(sent)

    async def there(self, broker, topic, count, arrived):
        """
        Wait for what is sent without a receipt.
        """
        deadline = time.monotonic() + 10
        while len(arrived(broker.endpoint, topic)) < count:
            assert time.monotonic() < deadline, "not there"

    @pytest.mark.parametrize("count", [1, 100, 501, 5000])
    async def test_batches(self, opened, broker, topic, batch, arrived, ids, count):
        """A batch of any size arrives whole and in order."""
        sent = batch(count)
        async with opened(broker.endpoint, topic) as sink:
            await sink.send(sent)
        assert arrived(broker.endpoint, topic) == ids(sent)


class TestOverSize:
    async def test_one_among_good_ones(self, opened, broker, topic, batch, event, outcomes, arrived):
        """A record beyond the broker's limit is refused alone."""
        sent = batch([event(number, "x" * (2_000_000 if number == 41 else 0)) for number in range(100)])
        async with opened(broker.endpoint, topic) as sink:
            receipt = await sink.send(sent)
            await sink.send(batch(3))
        assert outcomes(receipt, sent) == ["Rejected" if number == 41 else "Delivered" for number in range(100)]
        assert len(arrived(broker.endpoint, topic)) == 102

    def test_dead_letter(self, deliver, broker, topic, event, arrived, tmp_path):
        """A record beyond the broker's limit is among the dead letters, and nothing else is."""
        made = [event(number, "x" * (2_000_000 if number == 41 else 0)) for number in range(100)]
        delivery = deliver(broker.endpoint, topic)
        for each in made:
            delivery.append(each)
        assert delivery.flush(60)
        giant = made.pop(41)
        (letter,) = [line for path in tmp_path.rglob("*dead*/*.jsonl") for line in path.read_text().splitlines()]
        assert giant.id in letter
        assert arrived(broker.endpoint, topic) == [each.id for each in made]

    async def test_a_stricter_topic(self, opened, broker, topic, batch, event, outcomes, arrived):
        """A topic that takes less than the broker gets smaller batches, and what is too large for it is refused."""
        strict = f"{topic}-strict"
        kafka.create(broker.endpoint, strict, max_message_bytes=20_000)
        sent = batch([event(number, "x" * (30_000 if number == 41 else 100)) for number in range(200)])
        async with opened(broker.endpoint, strict) as sink:
            receipt = await sink.send(sent)
        assert outcomes(receipt, sent) == ["Rejected" if number == 41 else "Delivered" for number in range(200)]
        assert len(arrived(broker.endpoint, strict)) == 199

    async def test_compressed(self, opened, broker, topic, batch, event, outcomes):
        """What fits once it is compressed is taken."""
        sent = batch([event(0, "x" * 2_000_000)])
        async with opened(broker.endpoint, topic, compression="zstd") as sink:
            receipt = await sink.send(sent)
        assert outcomes(receipt, sent) == ["Delivered"]


class TestSecurity:
    @pytest.mark.parametrize("mechanism", ["plain", "scram-sha-256", "scram-sha-512"])
    @pytest.mark.parametrize("listener", ["sasl", "sasl_ssl"])
    async def test_password(self, opened, broker, topic, batch, arrived, mechanism, listener):
        """Names and passwords are taken, with TLS and without."""
        tls = {"tls_enabled": True, "tls_ca_file": broker.certificates.authority} if listener == "sasl_ssl" else {}
        async with opened(broker.at(listener), topic, sasl_mechanism=mechanism, **LOGIN, **tls) as sink:
            await sink.send(batch(10))
        assert len(arrived(broker.endpoint, topic)) == 10

    async def test_token(self, opened, broker, topic, batch, arrived):
        """A bearer token is taken."""
        async with opened(broker.at("sasl"), topic, sasl_mechanism="oauthbearer", sasl_token=bearer("shop")) as sink:
            await sink.send(batch(10))
        assert len(arrived(broker.endpoint, topic)) == 10

    async def test_fetched_token(self, opened, broker, topic, batch, arrived, login_server):
        """A bearer token is fetched from where it is given."""
        answer = {"access_token": bearer("shop"), "expires_in": 600, "token_type": "Bearer"}
        client = {"sasl_client_id": "shop", "sasl_client_secret": "correct-horse"}
        with login_server(200, json.dumps(answer).encode()) as (url, seen):
            async with opened(
                broker.at("sasl"), topic, sasl_mechanism="oauthbearer", sasl_token_url=url, **client
            ) as sink:
                await sink.send(batch(10))
        assert len(arrived(broker.endpoint, topic)) == 10
        assert seen[0] == ("Basic c2hvcDpjb3JyZWN0LWhvcnNl", {"grant_type": ["client_credentials"]})

    @pytest.mark.parametrize("mechanism", ["plain", "scram-sha-256", "scram-sha-512", "oauthbearer"])
    async def test_refused(self, opened, broker, topic, mechanism):
        """Refused credentials are told as such, soon, and without them."""
        wrong = (
            {"sasl_token": "open-sesame"} if mechanism == "oauthbearer" else LOGIN | {"sasl_password": "open-sesame"}
        )
        begun = time.monotonic()
        with pytest.raises(Unauthorized, match="the brokers refuse our") as caught:
            async with opened(broker.at("sasl"), topic, sasl_mechanism=mechanism, timeout_ms=4000, **wrong):
                pass
        assert "open-sesame" not in str(caught.value)
        assert time.monotonic() - begun < 10

    async def test_certificate(self, opened, broker, topic, batch, arrived):
        """A client's certificate is shown where brokers ask for it."""
        files = {"tls_ca_file": broker.certificates.authority, "tls_cert_file": broker.certificates.client}
        async with opened(broker.at("mutual"), topic, tls_enabled=True, **files) as sink:
            await sink.send(batch(10))
        assert len(arrived(broker.endpoint, topic)) == 10

    @pytest.mark.parametrize(("listener", "trusted"), [("elsewhere", True), ("ssl", False)])
    async def test_another_server(self, opened, broker, topic, listener, trusted):
        """Nothing is sent to a server whose certificate is another host's, or nobody's that we trust."""
        files = {"tls_ca_file": broker.certificates.authority} if trusted else {}
        with pytest.raises(NotDelivered, match=r"certificate .* is not accepted"):
            async with opened(broker.at(listener), topic, tls_enabled=True, **files):
                pass
        assert read(broker.endpoint, topic) == []

    async def test_tls_expected(self, opened, broker, topic):
        """A broker that wants TLS is not reached without."""
        with pytest.raises(NotDelivered, match="reached"):
            async with opened(broker.at("ssl"), topic, timeout_ms=1000):
                pass


class TestTopic:
    async def test_unknown(self, opened, broker, batch, monkeypatch, client):
        """Records for a topic that does not exist wait, and the reason names it; they arrive once it is there."""
        monkeypatch.setattr(f"otel_llm_exporters.kafka_{client}._TOPIC_SECONDS", 1.0)
        name = f"late-{time.time_ns()}"
        async with opened(broker.endpoint, name) as sink:
            waiting = await sink.send(batch(2))
            kafka.create(broker.endpoint, name)
            arrived = await sink.send(batch(2))
        reasons = {outcome.reason.partition(" (")[0] for outcome in waiting.outcomes}
        assert reasons == {f"the topic {name} does not exist"}
        assert arrived.outcomes == Delivered()
