import asyncio
import functools
import json
import logging
import re
import sys
from base64 import b64encode
from importlib import metadata
from itertools import count
from uuid import UUID

import boto3
import pytest
from botocore.loaders import JSONFileLoader
from otel_llm_exporters.kinesis import KinesisOptions, KinesisSink
from otel_llm_exporters.kinesis_aiobotocore import AiobotocoreKinesis
from otel_llm_exporters.kinesis_boto3 import Boto3Kinesis

from otel_llm.delivery import breaker
from otel_llm.delivery.delivery import Delivery
from otel_llm.delivery.sink import Batch, Delivered, Record, Rejected, Retry
from otel_llm.delivery.spec import DeliverySettings, SinkSpec
from otel_llm.errors import MissingExtra, Unauthorized
from otel_llm.formats import otel
from otel_llm.settings import Secret, read_options
from tests.servers.kit import certificates

MIB = 1024**2
STREAMS = count(1)
CLIENTS = ("aiobotocore", "boto3")


@pytest.fixture(scope="module", autouse=True)
def _one_service_model():
    """Read botocore's descriptions of services once: that is most of what a client costs."""
    read = functools.cache(JSONFileLoader().load_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: read(path))
        yield


@pytest.fixture
def proxy(servers, monkeypatch):
    """
    Give Kinesalite behind a proxy that does as told, and an environment without anybody's AWS settings.
    """
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "none")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    running = servers.get("kinesis-proxy")
    running.requests.clear()
    running.credentials.clear()
    yield running
    running.throttle_every, running.refusal, running.refusal_status = 0, None, 400


@pytest.fixture(params=CLIENTS)
def client(request):
    """
    Give each client's name in turn.
    """
    return request.param


@pytest.fixture
def stream(proxy):
    """
    Give the name of a new stream of one shard.
    """
    name = f"calls-{next(STREAMS)}"
    proxy.api.create(name)
    return name


@pytest.fixture
def taken(proxy, stream):
    """
    Give a function that reads the stream.
    """
    return lambda: proxy.api.records(stream)


@pytest.fixture(scope="module")
def issued(tmp_path_factory):
    """
    Give the certificates of an authority that nobody else trusts.
    """
    return certificates.issue(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def options(proxy, stream):
    """
    Give a function that makes options.
    """

    def make(**changes) -> KinesisOptions:
        given = {
            "stream_name": stream,
            "region": "us-east-1",
            "endpoint": proxy.endpoint,
            "access_key_id": "AKIATEST",
            "secret_access_key": Secret("hush-hush"),
            **changes,
        }
        return KinesisOptions(**given)

    return make


def send(options, *batches):
    """
    Open a sink, send, close it; gives the outcomes of the last batch.
    """
    sink = KinesisSink(options)
    return _send(sink, batches) if isinstance(sink, Boto3Kinesis) else asyncio.run(_send_async(sink, batches))


def _send(sink, batches):
    sink.open()
    try:
        return [list(sink.send(batch).of(batch)) for batch in batches][-1]
    finally:
        sink.close()


async def _send_async(sink, batches):
    await sink.open()
    try:
        return [list((await sink.send(batch)).of(batch)) for batch in batches][-1]
    finally:
        await sink.close()


def missing(name):
    raise metadata.PackageNotFoundError(name)


def batch_of_sizes(call, *sizes):
    return Batch([Record(call(), b"x" * size) for size in sizes])


def kinds(outcomes):
    return [type(outcome) for outcome in outcomes]


class TestRequests:
    def test_records(self, options, client, taken, call, batch_of):
        """A record is the body, under its partition key."""
        event = call()
        send(options(client=client), batch_of(event))
        (record,) = taken()
        assert (json.loads(record.data)["event_id"], record.key) == (event.id, event.id)

    def test_most_records(self, options, proxy, client, taken, call, batch_of):
        """No request holds more than 500 records."""
        events = [call() for _ in range(1201)]
        send(options(client=client), batch_of(*events))
        assert [len(request) for request in proxy.requests] == [500, 500, 201]
        assert [record.key for record in taken()] == [event.id for event in events]

    def test_most_bytes(self, options, proxy, client, taken, call):
        """No request is larger than `request_bytes`, keys included, and none is smaller than it has to be."""
        key = len(call().id)
        batch = batch_of_sizes(call, *[MIB // 4 - key] * 41)
        assert set(kinds(send(options(client=client), batch))) == {Delivered}
        assert [len(request) for request in proxy.requests] == [20, 20, 1]
        assert len(taken()) == 41

    def test_larger_than_a_request(self, options, proxy, call):
        """A record that is larger than `request_bytes` goes alone."""
        batch = batch_of_sizes(call, 100, 5000, 100)
        assert set(kinds(send(options(request_bytes=1000), batch))) == {Delivered}
        assert [len(request) for request in proxy.requests] == [1, 1, 1]

    def test_over_size(self, options, taken, call):
        """A record that exceeds the limit by one byte, its key included, is rejected alone."""
        key = len(call().id)
        outcomes = send(options(), batch_of_sizes(call, 1, MIB - key, MIB - key + 1, 2))
        assert kinds(outcomes) == [Delivered, Delivered, Rejected, Delivered]
        assert outcomes[2].reason == "1048577 bytes with its key, and record_bytes allows 1048576"
        assert [len(record.data) for record in taken()] == [1, MIB - key, 2]

    def test_over_size_for_the_stream(self, options, taken, call):
        """Where the stream takes less than `record_bytes`, the batch is halved until the record at fault is alone."""
        outcomes = send(options(record_bytes=10 * MIB), batch_of_sizes(call, 1, 2, MIB + 1, 3, 4))
        assert kinds(outcomes) == [Delivered, Delivered, Rejected, Delivered, Delivered]
        assert outcomes[2].reason == "Kinesis does not take its 1048613 bytes: ValidationException"
        assert [len(record.data) for record in taken()] == [1, 2, 3, 4]

    def test_nothing_to_send(self, options, proxy, call):
        """A batch of which every record is too large makes no request."""
        assert kinds(send(options(record_bytes=100), batch_of_sizes(call, 101, 102))) == [Rejected, Rejected]
        assert proxy.requests == []


class TestPartitionKey:
    @pytest.mark.parametrize(
        ("field", "key"),
        [
            ("label.tenant_id", "t1"),
            ("request_id", "r1"),
            ("resource.service.name", "shop"),
            ("acme.order.region", "eu"),
            ("acme.long", "k" * 256),
            ("acme.wide", "\N{SNOWMAN}" * 256),
        ],
    )
    def test_field(self, options, taken, call, batch_of, field, key):
        """The key is what the event says at that path, at most 256 characters of it."""
        event = call(
            otel_llm__request__id="r1",
            acme__order={"region": "eu"},
            acme__long="k" * 300,
            acme__wide="\N{SNOWMAN}" * 300,
        )
        send(options(partition_key_field=field), batch_of(event))
        assert [record.key for record in taken()] == [key]

    @pytest.mark.parametrize("empty", [None, "", {"a": 1}])
    def test_uuid(self, options, taken, call, batch_of, empty):
        """Where the field is empty, the key is the event id, a UUID, the same when the record is sent again."""
        event = call(acme__order=empty)
        send(options(partition_key_field="acme.order"), batch_of(event), batch_of(event))
        first, second = (UUID(record.key) for record in taken())
        assert first == second == UUID(event.id)

    def test_together(self, options, proxy, call, batch_of):
        """Records with one key go to one shard, in order; records without spread over all."""
        proxy.api.create(stream := f"calls-{next(STREAMS)}", shards=4)
        same = [call() for _ in range(40)]
        spread = [call(otel_llm__label__tenant_id=None) for _ in range(40)]
        send(options(stream_name=stream, partition_key_field="label.tenant_id"), batch_of(*same, *spread))
        records = proxy.api.records(stream)
        of_tenant = [record for record in records if record.key == "t1"]
        assert [json.loads(record.data)["event_id"] for record in of_tenant] == [event.id for event in same]
        assert len({record.shard for record in of_tenant}) == 1
        assert len({record.shard for record in records}) == 4


class TestFailures:
    def test_throttled(self, options, proxy, client, call, batch_of):
        """Of a request that was taken in part, each record that was not is to be sent again, and says why."""
        proxy.throttle_every = 2
        outcomes = send(options(client=client), batch_of(*[call() for _ in range(6)]))
        assert len([outcome for outcome in outcomes if outcome == Delivered()]) == 3
        assert {outcome.reason for outcome in outcomes if isinstance(outcome, Retry)} == {
            "ProvisionedThroughputExceededException from 127.0.0.1"
        }

    def test_throttled_amid_requests(self, options, proxy, taken, call, batch_of):
        """Requests after one that was throttled in part go out all the same."""
        proxy.throttle_every = 3
        outcomes = send(options(), batch_of(*[call() for _ in range(1500)]))
        assert len(proxy.requests) == 3
        assert kinds(outcomes).count(Retry) == 500
        assert len(taken()) == 1000

    @pytest.mark.parametrize(
        "code", ["ProvisionedThroughputExceededException", "InternalFailure", "KMSThrottlingException"]
    )
    def test_failed_as_a_whole(self, options, proxy, call, batch_of, code):
        """A request of which nothing was taken is sent again, and says why."""
        proxy.refusal = code
        outcomes = send(options(), batch_of(call(), call()))
        assert outcomes == [Retry(reason=f"{code} from 127.0.0.1")] * 2

    def test_failed_half_way(self, options, proxy, taken, call, batch_of):
        """What was taken before a request failed stays delivered; the rest of the batch is sent again, not tried on."""
        events = [call() for _ in range(1100)]
        proxy.refuse_after = 1
        proxy.refusal = "AccessDeniedException"
        outcomes = send(options(), batch_of(*events))
        proxy.refuse_after = 0
        assert kinds(outcomes) == [Delivered] * 500 + [Retry] * 600
        assert len(taken()) == 500
        assert len(proxy.requests) == 1

    @pytest.mark.parametrize(
        "code",
        [
            "AccessDeniedException",
            "ExpiredTokenException",
            "IncompleteSignature",
            "InvalidSignatureException",
            "KMSAccessDeniedException",
            "MissingAuthenticationTokenException",
            "UnrecognizedClientException",
        ],
    )
    def test_refused(self, options, proxy, call, batch_of, code):
        """Credentials that Kinesis does not accept are said to be that."""
        proxy.refusal = code
        with pytest.raises(Unauthorized, match=rf"^{code} from 127.0.0.1$"):
            send(options(client="boto3"), batch_of(call()))

    def test_no_credentials(self, options, client, call, batch_of):
        """Credentials that are found nowhere are said to be missing."""
        with pytest.raises(Unauthorized, match=r"^no credentials for Kinesis: NoCredentialsError$"):
            send(options(client=client, access_key_id="", secret_access_key=Secret("")), batch_of(call()))

    def test_unknown_stream(self, options, call, batch_of):
        """A stream that is not there is named; its records wait for it."""
        outcomes = send(options(stream_name="nowhere"), batch_of(call()))
        assert outcomes == [Retry(reason="there is no stream 'nowhere' at 127.0.0.1")]

    def test_no_server(self, options, call, batch_of):
        """A server that is not there is named by its host."""
        (outcome,) = send(options(endpoint="http://localhost:9"), batch_of(call()))
        assert outcome.reason.startswith("no answer from localhost: EndpointConnectionError")

    def test_timeout(self, options, proxy, client, call, batch_of):
        """An answer that takes longer than `timeout_ms` is not waited for."""
        with proxy.holding():
            (outcome,) = send(options(client=client, timeout_ms=100), batch_of(call()))
        assert outcome.reason.startswith("no answer from 127.0.0.1: ReadTimeoutError")

    def test_one_attempt(self, options, proxy, client, call, batch_of):
        """The client does not try again by itself."""
        proxy.refusal, proxy.refusal_status, proxy.attempts = "InternalFailure", 500, 0
        send(options(client=client), batch_of(call()))
        assert proxy.attempts == 1


class TestDelivery:
    """
    The whole way, from the journal into the stream.
    """

    @pytest.fixture
    def deliver(self, options, tmp_path, monkeypatch):
        """
        Give a function that delivers events with a courier which tries again after milliseconds; gives its stats.
        """
        monkeypatch.setattr(breaker, "BASE", 0.01)
        monkeypatch.setattr(breaker, "CAP", 0.05)

        def run(*events, client, **settings):
            spec = SinkSpec(
                name="kinesis", make=lambda: KinesisSink(options(client=client)), encoder=otel.encode, **settings
            )
            delivery = Delivery(sinks=[spec], settings=DeliverySettings(journal_dir=tmp_path / client))
            try:
                for event in events:
                    delivery.append(event)
                assert delivery.flush(30)
                return delivery.stats()["kinesis"]
            finally:
                delivery.shutdown(5)

        return run

    def test_throttled_half(self, proxy, client, taken, call, deliver):
        """Where every other record is throttled, each arrives once: what was taken is not sent again."""
        proxy.throttle_every = 2
        events = [call() for _ in range(1000)]
        stats = deliver(*events, client=client, batch_size=500)
        assert sorted(record.key for record in taken()) == sorted(event.id for event in events)
        assert sum(map(len, proxy.requests)) == 1000 + stats.retried
        assert (stats.events_sent, stats.dead, stats.events_dropped, stats.pending_events) == (1000, 0, {}, 0)

    def test_throttled_order(self, proxy, taken, call, deliver):
        """With one worker a later batch does not go before an earlier one that is sent again."""
        proxy.throttle_every = 7
        events = [call() for _ in range(300)]
        deliver(*events, client="aiobotocore", batch_size=50)
        keys = [record.key for record in taken()]
        batches = [{event.id for event in events[start : start + 50]} for start in range(0, 300, 50)]
        assert [set(keys[start : start + 50]) for start in range(0, 300, 50)] == batches


class TestCredentials:
    def test_keys(self, options, proxy, client, call, batch_of):
        """Keys and token of the options are those that are used."""
        send(options(client=client, session_token=Secret("token-1")), batch_of(call()))
        assert proxy.credentials == {"AKIATEST", "token-1"}

    def test_default_chain(self, options, proxy, client, call, batch_of, monkeypatch):
        """Without keys the environment is asked, as AWS clients do."""
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
        send(options(client=client, access_key_id="", secret_access_key=Secret("")), batch_of(call()))
        assert proxy.credentials == {"AKIAENVIRONMENT", None}

    def test_debug_log(self, options, proxy, client, call, caplog):
        """An application that logs everything does not log records or tokens of ours, and its own requests as ever."""
        caplog.set_level(logging.DEBUG)
        canary = b"a canary that sings"
        send(options(client=client, session_token=Secret("token-1")), Batch([Record(call(), canary)]))
        assert "PutRecords" in caplog.text
        assert not any(word in caplog.text for word in ("canary", b64encode(canary).decode(), "token-1", "hush-hush"))
        caplog.clear()
        theirs = boto3.session.Session("AKIATHEIRS", "hush").client(
            "kinesis", region_name="us-east-1", endpoint_url=proxy.endpoint
        )
        theirs.list_streams()
        theirs.close()
        assert "Making request for OperationModel(name=ListStreams)" in caplog.text

    def test_new_ones(self, options, proxy, client, call, batch_of, monkeypatch, tmp_path):
        """Credentials that were changed are found when the sink is opened again."""
        shared = tmp_path / "credentials"
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(shared))
        sink = KinesisSink(options(client=client, access_key_id="", secret_access_key=Secret("")))
        for key in ("AKIAFIRST", "AKIASECOND"):
            shared.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = hush\n")
            _send(sink, [batch_of(call())]) if client == "boto3" else asyncio.run(_send_async(sink, [batch_of(call())]))
        assert proxy.credentials == {"AKIAFIRST", "AKIASECOND", None}


class TestTls:
    def test_trusted(self, options, servers, client, call, batch_of, issued):
        """A server that an authority of `ca_file` vouches for is trusted."""
        server = servers.get("kinesalite", certificate=issued.server, authority=issued.authority)
        server.api.create(stream := f"calls-{next(STREAMS)}")
        send(
            options(client=client, stream_name=stream, endpoint=server.endpoint, ca_file=issued.authority),
            batch_of(call()),
        )
        assert len(server.api.records(stream)) == 1

    def test_wrong_host(self, options, servers, client, call, batch_of, issued):
        """A certificate for another host is refused, and nothing is sent."""
        server = servers.get("kinesalite", certificate=issued.elsewhere)
        (outcome,) = send(options(client=client, endpoint=server.endpoint, ca_file=issued.authority), batch_of(call()))
        assert re.match(r"no answer from 127.0.0.1: .*(SSL|Certificate|CERTIFICATE)", outcome.reason)

    def test_unknown_authority(self, options, servers, client, call, batch_of, issued):
        """A certificate by an authority that nobody trusts is refused."""
        server = servers.get("kinesalite", certificate=issued.server, authority=issued.authority)
        (outcome,) = send(options(client=client, endpoint=server.endpoint), batch_of(call()))
        assert re.match(r"no answer from 127.0.0.1: .*(SSL|Certificate|CERTIFICATE)", outcome.reason)


class TestClient:
    def test_auto(self, options):
        """The client is aiobotocore where it is installed."""
        assert isinstance(KinesisSink(options()), AiobotocoreKinesis)

    def test_auto_without_it(self, options, monkeypatch):
        """It is boto3 where aiobotocore is missing."""
        monkeypatch.setattr(metadata, "version", missing)
        assert isinstance(KinesisSink(options()), Boto3Kinesis)

    def test_auto_with_an_old_one(self, options, monkeypatch):
        """It is boto3 beside an aiobotocore that does not check whose certificate it is shown, such as aioboto3's."""
        monkeypatch.setattr(metadata, "version", lambda _: "2.25.1")
        assert isinstance(KinesisSink(options()), Boto3Kinesis)

    @pytest.mark.parametrize("version", ["2.25.1", "3.8.0", None])
    def test_aiobotocore_missing(self, options, monkeypatch, version):
        """Asked for by name, an aiobotocore that is missing or too old names its extra."""
        monkeypatch.setattr(metadata, "version", (lambda _: version) if version else missing)
        with pytest.raises(
            MissingExtra, match=re.escape("(aiobotocore 3.9 or newer): pip install 'otel-llm[kinesis]'")
        ):
            KinesisSink(options(client="aiobotocore"))

    def test_boto3_missing(self, options, monkeypatch):
        """A boto3 that is missing names its extra."""
        monkeypatch.delitem(sys.modules, "otel_llm_exporters.kinesis_boto3")
        monkeypatch.setitem(sys.modules, "boto3.session", None)
        with pytest.raises(MissingExtra, match=re.escape("its client: pip install 'otel-llm[kinesis-boto3]'")):
            KinesisSink(options(client="boto3"))

    def test_other_server(self, options, servers, client, call, batch_of):
        """Moto, which is written by others than Kinesalite, takes the same."""
        server = servers.get("moto")
        server.api.create(stream := f"calls-{next(STREAMS)}")
        events = [call() for _ in range(501)]
        send(options(client=client, stream_name=stream, endpoint=server.endpoint), batch_of(*events))
        assert [record.key for record in server.api.records(stream)] == [event.id for event in events]


class TestOptions:
    def test_read(self):
        """Options are read from text, sizes with their units."""
        options, problems = read_options(
            KinesisOptions,
            {"stream_name": "llm", "region": "eu-central-1", "record_bytes": "10 MiB", "request_bytes": "1 MiB"},
            "sinks.kinesis",
        )
        assert (problems, options.record_bytes, options.request_bytes) == ((), 10 * MIB, MIB)

    def test_required(self):
        """A stream and its region have to be named."""
        _, problems = read_options(KinesisOptions, {}, "sinks.kinesis")
        assert [problem.where for problem in problems] == ["sinks.kinesis.stream_name", "sinks.kinesis.region"]

    def test_secrets(self, options):
        """Options that are printed show no secret."""
        shown = repr(options(session_token=Secret("token-1")))
        assert "hush" not in shown
        assert "token-1" not in shown
