"""The webhook sink against a real server: what arrives, and what is made of the answers."""

import asyncio
import base64
import contextlib
import json
import logging
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from ipaddress import ip_network

import pytest
from google.protobuf import json_format
from hook_receiver import Answer, Receiver
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from standardwebhooks import Webhook, WebhookVerificationError

from otel_llm import plugins
from otel_llm.delivery import breaker, http_address, setup
from otel_llm.delivery.delivery import Delivery
from otel_llm.delivery.sink import DELIVERED, Receipt, Rejected, Retry
from otel_llm.delivery.spec import DeliverySettings
from otel_llm.errors import NotDelivered, ReceiverGone, SettingsError, Unauthorized
from otel_llm.settings import SinkCommon, SinkSettings
from tests.servers.kit import certificates

OLD, NEW = (f"whsec_{base64.b64encode(bytes([number] * 32)).decode()}" for number in (1, 2))


@pytest.fixture
def receiver():
    """
    Give a server that takes everything.
    """
    with Receiver() as running:
        yield running


@pytest.fixture
async def open_sink(receiver):
    """
    Give a function that opens a sink for the server, or another URL.
    """
    async with contextlib.AsyncExitStack() as stack:

        async def make(url=None, **options):
            sink = plugins.make_sink(settings(url or receiver.url, **options))
            await sink.open()
            stack.push_async_callback(sink.close)
            return sink

        yield make


@pytest.fixture
def open_delivery(tmp_path, monkeypatch):
    """
    Give a function that opens a delivery to a sink, which tries again after milliseconds.
    """
    monkeypatch.setattr(breaker, "BASE", 0.01)
    monkeypatch.setattr(breaker, "CAP", 0.05)
    with contextlib.ExitStack() as stack:

        def make(url, *, common=None, **options):
            given = SinkSettings("hooks", "webhook", settings(url, **options).options, SinkCommon(**(common or {})))
            delivery = Delivery(
                sinks=[setup.sink_spec(given)],
                settings=DeliverySettings(journal_dir=tmp_path / "journal", flush_interval_ms=50),
            )
            stack.callback(delivery.shutdown, 5)
            return delivery

        yield make


@pytest.fixture(scope="session")
def certified(tmp_path_factory):
    """
    Give the certificates of an authority that nobody else trusts.
    """
    return certificates.issue(tmp_path_factory.mktemp("certificates"))


def settings(url, **options):
    return SinkSettings("hooks", "webhook", {"url": url, **options})


def told(status, more=""):
    """
    Give the words for a status; Python 3.13 has new ones for some.
    """
    return f"{status} {HTTPStatus(status).phrase} from 127.0.0.1{more}"


def stats_of(delivery):
    (stats,) = delivery.stats().values()
    return stats


class TestBodies:
    @pytest.mark.parametrize(
        ("body", "content_type", "start", "end"),
        [
            ("array", "application/json", b'[{"event_id"', b"}]"),
            ("envelope", "application/json", b'{"events":[{"event_id"', b"}]}"),
            ("ndjson", "application/x-ndjson", b'{"event_id"', b"}\n"),
        ],
    )
    async def test_of_a_batch(self, open_sink, receiver, call, batch_of, body, content_type, start, end):
        """A batch is one request in the shape that was asked for."""
        batch = batch_of(call(), call(), call())
        sink = await open_sink(body=body)
        assert await sink.send(batch) == Receipt.delivered()
        (post,) = receiver.posts
        assert (post.path, post.headers["content-type"]) == ("/llm", content_type)
        assert (post.body.startswith(start), post.body.endswith(end)) == (True, True)
        assert post.records == [json.loads(record.body) for record in batch.records]

    async def test_single(self, open_sink, receiver, call, batch_of):
        """With `single` each record is a request, in order, under its event id."""
        batch = batch_of(call(), call(), call())
        sink = await open_sink(body="single")
        assert (await sink.send(batch)).of(batch) == [DELIVERED] * 3
        assert [post.raw for post in receiver.posts] == [record.body for record in batch.records]
        assert [post.headers["webhook-id"] for post in receiver.posts] == [one.event.id for one in batch.records]

    @pytest.mark.parametrize("compression", ["gzip", "zstd"])
    async def test_compressed(self, open_sink, receiver, call, batch_of, compression):
        """A compressed body says so, and is small."""
        batch = batch_of(*[call() for _ in range(100)])
        await (await open_sink(compression=compression)).send(batch)
        (post,) = receiver.posts
        assert post.headers["content-encoding"] == compression
        assert len(post.raw) < batch.size / 5
        assert len(post.records) == 100

    async def test_headers(self, open_sink, receiver, call, batch_of):
        """Every request has the operator's headers, which may replace ours."""
        headers = {"Authorization": "Bearer abc", "X-Source": "shop", "Content-Type": "application/vnd.acme+json"}
        await (await open_sink(headers=headers)).send(batch_of(call()))
        (post,) = receiver.posts
        given = [post.headers[name] for name in ("authorization", "x-source", "content-type", "user-agent")]
        assert given == ["Bearer abc", "shop", "application/vnd.acme+json", "otel-llm/0.1.0"]

    async def test_user_in_the_url(self, open_sink, receiver, call, batch_of):
        """User and password in the URL are sent as HTTP has it, not as part of the address."""
        sink = await open_sink(receiver.url.replace("://", "://shop:p%40ss@"))
        await sink.send(batch_of(call()))
        (post,) = receiver.posts
        assert post.headers["authorization"] == "Basic " + base64.b64encode(b"shop:p@ss").decode()
        assert post.headers["host"] == f"127.0.0.1:{receiver.port}"


class TestSignatures:
    @pytest.mark.parametrize("compression", ["none", "gzip"])
    async def test_verified(self, open_sink, receiver, call, batch_of, compression):
        """Standard Webhooks' own library takes what we sign: the body as it is after decompression."""
        await (await open_sink(signing_secrets=[OLD], compression=compression)).send(batch_of(call(), call()))
        (post,) = receiver.posts
        assert Webhook(OLD).verify(post.body, post.headers) == post.records
        with pytest.raises(WebhookVerificationError):
            Webhook(OLD).verify(post.body + b" ", post.headers)

    async def test_rotation(self, open_sink, receiver, call, batch_of):
        """While one secret replaces another, a receiver may know either."""
        await (await open_sink(signing_secrets=f"{OLD},{NEW}")).send(batch_of(call()))
        (post,) = receiver.posts
        assert len(post.headers["webhook-signature"].split(" ")) == 2
        assert [bool(Webhook(secret).verify(post.body, post.headers)) for secret in (OLD, NEW)] == [True, True]

    async def test_unsigned(self, open_sink, receiver, call, batch_of):
        """Without a secret there is an id and a time, but no signature."""
        await (await open_sink()).send(batch_of(call()))
        (post,) = receiver.posts
        assert "webhook-signature" not in post.headers
        assert abs(int(post.headers["webhook-timestamp"]) - time.time()) < 60

    async def test_ids(self, open_sink, receiver, call, batch_of):
        """The same records have the same id whenever they are sent, other records another."""
        one, two, three = call(), call(), call()
        sink = await open_sink()
        for batch in (batch_of(one), batch_of(one, two), batch_of(one, two), batch_of(one, two, three)):
            await sink.send(batch)
        alone, first, again, more = [post.headers["webhook-id"] for post in receiver.posts]
        assert (alone, first) == (one.id, again)
        assert len({alone, first, more}) == 3


class TestAnswers:
    @pytest.mark.parametrize(
        ("answer", "receipt"),
        [
            (Answer(204), Receipt(DELIVERED)),
            (Answer(302, {"location": "/elsewhere"}), Receipt(Retry(None, told(302)))),
            (Answer(400, body=b"no"), Receipt(Rejected(told(400, ": no")))),
            (Answer(404), Receipt(Retry(None, told(404)))),
            (Answer(413), Receipt(Rejected(told(413)))),
            (Answer(422), Receipt(Rejected(told(422)))),
            (Answer(429, {"retry-after": "7"}), Receipt(Retry(7, told(429)))),
            (Answer(500, body=b"a\n b"), Receipt(Retry(None, told(500, ": a b")))),
            (Answer(503, {"retry-after": "1.5"}), Receipt(Retry(1.5, told(503)))),
        ],
        ids=lambda value: str(value.status) if isinstance(value, Answer) else "",
    )
    async def test_meaning(self, open_sink, receiver, call, batch_of, answer, receipt):
        """Each status has its meaning for the batch; no redirect is followed."""
        receiver.script.append(answer)
        assert await (await open_sink()).send(batch_of(call())) == receipt
        assert [post.path for post in receiver.posts] == ["/llm"]

    async def test_retry_after_a_date(self, open_sink, receiver, call, batch_of):
        """A date to wait for is measured by the server's own clock."""
        clock = datetime.now(UTC) - timedelta(hours=3)
        until = clock + timedelta(seconds=90)
        dates = {"date": format_datetime(clock, usegmt=True), "retry-after": format_datetime(until, usegmt=True)}
        receiver.script.append(Answer(503, dates))
        receipt = await (await open_sink()).send(batch_of(call()))
        assert receipt.outcomes.after == 90

    @pytest.mark.parametrize(
        ("status", "error"), [(401, Unauthorized), (403, Unauthorized), (407, Unauthorized), (410, ReceiverGone)]
    )
    async def test_what_stops_the_sink(self, open_sink, receiver, call, batch_of, status, error):
        """Wrong credentials and a receiver that is gone are no matter of this batch."""
        receiver.script.append(Answer(status, body=b"go away"))
        with pytest.raises(error, match=rf"^{status} [\w ]+ from 127\.0\.0\.1: go away$"):
            await (await open_sink()).send(batch_of(call()))

    async def test_single_stops_in_the_middle(self, open_sink, receiver, call, batch_of):
        """With `single` what was taken is delivered, what was refused is rejected, and the rest is sent again."""
        batch = batch_of(*[call() for _ in range(5)])
        receiver.script.extend([Answer(200), Answer(422), Answer(200), Answer(503, {"retry-after": "3"})])
        receipt = await (await open_sink(body="single")).send(batch)
        kinds = [type(outcome).__name__ for outcome in receipt.of(batch)]
        assert kinds == ["Delivered", "Rejected", "Delivered", "Retry", "Retry"]
        assert len(receiver.posts) == 4

    @pytest.mark.parametrize("status", [401, 410])
    async def test_single_keeps_what_was_delivered(self, open_sink, receiver, call, batch_of, status):
        """With `single` a refusal in the middle does not send again what was taken before."""
        batch = batch_of(call(), call(), call())
        receiver.script.extend([Answer(200), Answer(status)])
        receipt = await (await open_sink(body="single")).send(batch)
        assert list(receipt.of(batch)) == [DELIVERED, Retry(0), Retry(0)]

    async def test_timeout(self, open_sink, receiver, call, batch_of):
        """A server that does not answer in time is reported as that."""
        sink = await open_sink(timeout_ms=50)
        with receiver.holding(), pytest.raises(NotDelivered, match=r"^no answer from 127\.0\.0\.1 within 50 ms$"):
            await sink.send(batch_of(call()))

    async def test_timeouts_leave_room(self, open_sink, receiver, call, batch_of):
        """A request that is given up, by its timeout or by who sent it, gives its connection back."""
        sink = await open_sink(timeout_ms=250, max_conns_per_host=1)
        with receiver.holding():
            for _ in range(2):
                with pytest.raises(NotDelivered):
                    await sink.send(batch_of(call()))
            sending = asyncio.create_task(sink.send(batch_of(call())))
            await asyncio.sleep(0.01)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        last = call()
        while last.id not in [record["event_id"] for record in receiver.records]:
            with contextlib.suppress(NotDelivered):
                await sink.send(batch_of(last))

    async def test_nobody_there(self, open_sink, receiver, call, batch_of):
        """A server that is not there is reported with the system's reason."""
        receiver.stop()
        sink = await open_sink()
        with pytest.raises(NotDelivered, match=r"^no answer from 127\.0\.0\.1: ConnectionRefusedError"):
            await sink.send(batch_of(call()))
        receiver.start()

    async def test_a_connection_is_used_again(self, open_sink, receiver, call, batch_of):
        """One connection carries request after request, also after errors; closing the sink closes it."""
        sink = await open_sink()
        receiver.script.extend([Answer(200), Answer(500, body=b"x" * 5000), Answer(429)])
        for _ in range(10):
            await sink.send(batch_of(call()))
            await sink.open()
        assert (len(receiver.posts), receiver.accepted) == (10, 1)
        await sink.close()
        await asyncio.to_thread(receiver.wait_for_nobody)

    async def test_most_connections(self, open_sink, receiver, call, batch_of):
        """No more connections are open at once than allowed."""
        sink = await open_sink(max_conns_per_host=2)
        await asyncio.gather(*[sink.send(batch_of(call())) for _ in range(8)])
        assert len(receiver.posts) == 8
        assert receiver.accepted <= 2


class TestDelivery:
    def test_poison(self, open_delivery, receiver, call, tmp_path):
        """One record that the server refuses goes to the dead letters, with the server's words; the others arrive."""
        made = [call() for _ in range(64)]
        bad = made[37]
        receiver.poison = bad.id.encode()
        delivery = open_delivery(receiver.url)
        _deliver(delivery, made)
        assert [record["event_id"] for record in receiver.records] == [one.id for one in made if one is not bad]
        (letter,) = [json.loads(line) for file in tmp_path.rglob("*.jsonl") for line in file.read_text().splitlines()]
        assert (letter["event_id"], letter["reason"]) == (bad.id, told(422, ": bad"))

    def test_gone(self, open_delivery, receiver, call):
        """After 410 the sink is off, and its records stay."""
        receiver.default = Answer(410)
        delivery = open_delivery(receiver.url)
        delivery.append(call())
        assert not delivery.flush(5)
        stats = stats_of(delivery)
        assert (stats.state, stats.pending_events, len(receiver.posts)) == ("off", 1, 1)
        assert "410 Gone from 127.0.0.1" in stats.last_error

    def test_busy(self, open_delivery, receiver, call):
        """A server that is too busy gets the same records under the same id when it has asked for them again."""
        receiver.script.append(Answer(429, {"retry-after": "0.1"}))
        delivery = open_delivery(receiver.url)
        _deliver(delivery, [call(), call()])
        assert len({post.headers["webhook-id"] for post in receiver.posts}) == 1
        assert [post.status for post in receiver.posts] == [429, 200]

    def test_nothing_is_told(self, open_delivery, receiver, call, caplog):
        """However much an answer quotes, no secret and no prompt gets into a log, a report or a reason."""
        caplog.set_level(logging.DEBUG)
        receiver.echo = True
        receiver.script.extend(map(Answer, (500, 404, 503, 401, 302)))
        url = receiver.url.replace("://", "://shop:pa55word@") + "/path-token-123456?key=query-token-123456"
        reports = []
        delivery = open_delivery(
            url,
            headers={"Authorization": "Bearer header-token-123456", "X-Key": "other-token-123456"},
            signing_secrets=[OLD],
        )
        event = call(gen_ai__input__messages=[{"role": "user", "content": "the canary sings at midnight"}])
        delivery.append(event)
        while len(receiver.posts) < 6:
            delivery.flush(0.05)
            reports.append(stats_of(delivery).last_error or "")
        assert delivery.flush(5)
        everything = caplog.text + "".join(reports)
        assert "from 127.0.0.1: Cannot POST" in everything
        canaries = ["path-token", "query-token", "header-token", "other-token", "pa55word", "canary sings", OLD[6:]]
        assert [canary for canary in canaries if canary in everything] == []

    def test_nothing_is_captured(self, server, telemetry, open_delivery, call):
        """What we send is no call of anybody's, even to a provider's path, and makes no span."""
        instrumentation = pytest.importorskip("opentelemetry.instrumentation.httpx")
        instrumentors = [instrumentation.HTTPXClientInstrumentor(), instrumentation.HTTPX2ClientInstrumentor()]
        for instrumentor in instrumentors:
            instrumentor.instrument()
        try:
            delivery = open_delivery(f"{server.openai_url}/chat/completions", common={"max_attempts": 1})
            delivery.append(call())
            assert delivery.flush(10)
        finally:
            for instrumentor in instrumentors:
                instrumentor.uninstrument()
        assert len(server.requests) == 1
        assert (telemetry.records(), telemetry.spans()) == ([], [])


def _partial_success(wanted, refused, words):
    """
    Give a receiver's answer as OpenTelemetry's own classes write it.
    """
    told = ExportLogsPartialSuccess(rejected_log_records=refused, error_message=words)
    response = ExportLogsServiceResponse(partial_success=told)
    if wanted == "otlp_proto":
        return Answer(200, {"content-type": "application/x-protobuf"}, response.SerializeToString())
    return Answer(200, {"content-type": "application/json"}, json_format.MessageToJson(response).encode())


class TestOtlp:
    @pytest.mark.parametrize("compression", ["none", "gzip"])
    @pytest.mark.parametrize(
        ("wanted", "content_type", "read"),
        [
            ("otlp_proto", "application/x-protobuf", ExportLogsServiceRequest.FromString),
            ("otlp_json", "application/json", lambda body: json_format.Parse(body, ExportLogsServiceRequest())),
        ],
        ids=["proto", "json"],
    )
    def test_a_batch_is_one_request(self, open_delivery, receiver, call, wanted, content_type, read, compression):
        """What a batch is in OTLP, OpenTelemetry's own classes read."""
        made = [call(number=str(number)) for number in range(20)]
        _deliver(open_delivery(receiver.url, common={"format": wanted}, compression=compression), made)
        (post,) = receiver.posts
        assert post.headers["content-type"] == content_type
        assert _numbers(read(post.body)) == list(range(20))

    @pytest.mark.parametrize("wanted", ["otlp_proto", "otlp_json"])
    @pytest.mark.parametrize(
        ("refused", "body", "sent", "words"),
        [
            (0, "array", 3, None),
            (1, "array", 0, "1 of these 3 records refused, without saying which: 200 OK from 127.0.0.1: too old"),
            (3, "array", 0, "refused: 200 OK from 127.0.0.1: too old"),
            (1, "single", 2, "refused: 200 OK from 127.0.0.1: too old"),
        ],
    )
    def test_partial_success(self, open_delivery, receiver, call, tmp_path, wanted, refused, body, sent, words):
        """Records that a receiver refuses of a request that it takes are in the dead letters, and not sent again."""
        receiver.script.append(_partial_success(wanted, refused, "too old"))
        delivery = open_delivery(receiver.url, common={"format": wanted}, body=body)
        _deliver(delivery, [call() for _ in range(3)])
        stats = stats_of(delivery)
        assert (stats.events_sent, stats.dead, len(receiver.posts)) == (sent, 3 - sent, 3 if body == "single" else 1)
        letters = "".join(path.read_text() for path in tmp_path.rglob("*dead*/*.jsonl"))
        assert letters.count(words or "refused") == 3 - sent

    @pytest.mark.parametrize("content_type", ["application/json", "application/x-protobuf", "text/html"])
    @pytest.mark.parametrize(
        "body", [b"", b"ok", b"{}", b"null", b'{"partialSuccess": null}', b"\xff" * 20, b"\x0a\x08"]
    )
    def test_another_answer(self, open_delivery, receiver, call, content_type, body):
        """An answer that is not OTLP's says nothing against the records."""
        receiver.script.append(Answer(200, {"content-type": content_type}, body))
        delivery = open_delivery(receiver.url, common={"format": "otlp_json"})
        _deliver(delivery, [call()])
        assert (stats_of(delivery).events_sent, stats_of(delivery).dead) == (1, 0)

    def test_single(self, open_delivery, receiver, call):
        """With `single` each record is an OTLP request of its own."""
        made = [call(number=str(number)) for number in range(3)]
        _deliver(open_delivery(receiver.url, common={"format": "otlp_proto"}, body="single"), made)
        requests = [ExportLogsServiceRequest.FromString(post.body) for post in receiver.posts]
        assert [_numbers(request) for request in requests] == [[0], [1], [2]]


class TestTls:
    async def test_trusted(self, open_sink, certified, call, batch_of):
        """A server whose authority is named is trusted."""
        with Receiver(certificate=certified.server) as receiver:
            sink = await open_sink(receiver.url, ca_file=str(certified.authority))
            assert await sink.send(batch_of(call())) == Receipt.delivered()
            assert len(receiver.posts) == 1

    async def test_trusted_by_the_environment(self, open_sink, certified, call, batch_of, monkeypatch):
        """Where nothing is named, the authorities of the system are trusted, or those of `SSL_CERT_FILE`."""
        monkeypatch.setenv("SSL_CERT_FILE", str(certified.authority))
        with Receiver(certificate=certified.server) as receiver:
            sink = await open_sink(receiver.url)
            assert await sink.send(batch_of(call())) == Receipt.delivered()

    @pytest.mark.parametrize(
        ("certificate", "trusted", "words"),
        [
            ("elsewhere", True, "IP address mismatch, certificate is not valid for '127.0.0.1'"),
            ("server", False, "certificate verify failed: "),
        ],
        ids=["wrong host", "unknown authority"],
    )
    async def test_not_trusted(self, open_sink, certified, call, batch_of, certificate, trusted, words):
        """A certificate for another host, or of an unknown authority, ends it before anything is sent."""
        with Receiver(certificate=getattr(certified, certificate)) as receiver:
            sink = await open_sink(receiver.url, **({"ca_file": str(certified.authority)} if trusted else {}))
            with pytest.raises(NotDelivered, match=words):
                await sink.send(batch_of(call()))
            assert receiver.posts == []

    async def test_silence(self, open_sink, call, batch_of):
        """A server that accepts connections and says nothing costs a timeout, and no socket stays open."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            sink = await open_sink(f"https://127.0.0.1:{silent.getsockname()[1]}/", timeout_ms=50)
            with pytest.raises(NotDelivered, match=r"^no answer from 127\.0\.0\.1 within 50 ms$"):
                await sink.send(batch_of(call()))
            connection, _ = silent.accept()
            with connection:
                connection.settimeout(5)
                while connection.recv(65536):
                    pass

    async def test_client_certificate(self, open_sink, certified, call, batch_of):
        """A server that wants to know us sees our certificate."""
        with Receiver(certificate=certified.server, client_authority=certified.authority) as receiver:
            files = {"ca_file": str(certified.authority), "cert_file": str(certified.client)}
            sink = await open_sink(receiver.url, **files)
            assert await sink.send(batch_of(call())) == Receipt.delivered()


class TestAddresses:
    async def test_a_name_that_leads_to_metadata(self, open_sink, call, batch_of, monkeypatch):
        """Where a connection leads to a metadata service after all, nothing is sent on it."""
        monkeypatch.setattr(http_address, "_METADATA_NETWORKS", (ip_network("127.0.0.9/32"),))
        with Receiver(address="127.0.0.9") as receiver:
            sink = await open_sink(receiver.url.replace("127.0.0.9", "2130706441"), allow_http=True)
            with pytest.raises(NotDelivered, match=r"leads to 127\.0\.0\.9, a cloud's metadata service; nothing was"):
                await sink.send(batch_of(call()))
            assert receiver.posts == []

    async def test_proxy(self, open_sink, receiver, call, batch_of, monkeypatch):
        """A proxy is used when it is named, and never because the environment has one."""
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        sink = await open_sink("http://hooks.example.com/llm", allow_http=True, proxy=receiver.url)
        assert await sink.send(batch_of(call())) == Receipt.delivered()
        assert receiver.posts[0].path == "http://hooks.example.com/llm"
        assert await (await open_sink()).send(batch_of(call())) == Receipt.delivered()

    @pytest.mark.parametrize(
        "url",
        ["http://127.0.0.1/", "http://localhost:8080/x", "http://[::1]/", "https://10.1.2.3/", "https://a.b/?c=d"],
    )
    def test_allowed(self, url):
        """Anything over https, and this machine over http."""
        assert plugins.check_sink(settings(url)) == ()

    def test_http_when_told_so(self):
        """`allow_http` is how an operator says that his network is safe."""
        url = "http://collector:8088/"
        assert len(plugins.check_sink(settings(url))) == 1
        assert plugins.check_sink(settings(url, allow_http="true")) == ()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": None}, "sinks.hooks.url: found nothing, expected a value, as it has no default"),
        ({"url": "ftp://h/x"}, "url: found some text, expected a URL such as https://hooks.example.com/llm"),
        ({"url": "https://"}, "url: found some text, expected a URL such as"),
        ({"url": "https://h:port/"}, "url: found some text, expected a URL such as"),
        ({"url": "https://h/a b"}, "url: found some text, expected a URL such as"),
        ({"url": "http://h/token"}, "sinks.hooks: found options that do not go together, expected https in url"),
        ({"url": "https://metadata.google.internal/"}, "expected the URL of a receiver, not of a cloud's metadata"),
        ({"url": "https://[::ffff:169.254.169.254]/"}, "expected the URL of a receiver, not of a cloud's metadata"),
        ({"timeout_ms": "5s"}, "timeout_ms: found '5s', expected a whole number"),
        ({"timeout": "5"}, "timeout: found an unknown option"),
        ({"compression": "lz4"}, "compression: found 'lz4', expected none, gzip or zstd"),
        ({"headers": "Bearer"}, "headers: found some text, expected pairs like k=v,k2=v2, or a JSON object"),
        ({"headers": {"A": "b\r\nC: d"}}, "headers: found a mapping, expected HTTP headers"),
        ({"signing_secrets": ["whsec_c2hvcnQ="]}, "signing_secrets: found a list, expected secrets like whsec_"),
        ({"key_file": __file__}, "sinks.hooks: found options that do not go together, expected cert_file beside"),
        ({"cert_file": "/no/such.pem"}, "expected a file that exists in cert_file"),
    ],
)
def test_misuse(options, words):
    """What is wrong is said in one sentence, without the value where it may be a secret."""
    (problem,) = plugins.check_sink(settings("https://h/token", **options) if "url" not in options else _only(options))
    assert words in str(problem)
    assert "token" not in str(problem)
    with pytest.raises(SettingsError):
        plugins.make_sink(_only({"url": "https://h/", **options}))


def _only(options):
    return SinkSettings("hooks", "webhook", options)


def _numbers(request):
    records = [
        record for resource in request.resource_logs for scope in resource.scope_logs for record in scope.log_records
    ]
    told = [{pair.key: pair.value.string_value for pair in record.attributes} for record in records]
    return [int(attributes["number"]) for attributes in told]


def _deliver(delivery, made):
    for one in made:
        delivery.append(one)
    assert delivery.flush(20)
