import asyncio
import json
import os
import re
import sys
from base64 import urlsafe_b64decode
from dataclasses import replace
from itertools import count

import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.rpc import error_details_pb2, status_pb2
from hook_receiver import Answer, Receiver
from otel_llm_exporters import pubsub_connection
from otel_llm_exporters.pubsub import Flow, PubsubSink
from otel_llm_exporters.pubsub_connection import is_secured
from otel_llm_exporters.pubsub_options import PubsubOptions

from otel_llm.delivery import breaker
from otel_llm.delivery.delivery import Delivery
from otel_llm.delivery.sink import Batch, Delivered, Record, Rejected, Retry
from otel_llm.delivery.spec import DeliverySettings, SinkSpec
from otel_llm.errors import NotDelivered, Unauthorized
from otel_llm.formats import otel
from otel_llm.settings import Secret, load, read_options
from tests.servers.kit import certificates
from tests.servers.ordered_pubsub import POISON

Code = grpc.StatusCode
TOPICS = count(1)
MOST_BYTES = 10_000_000


@pytest.fixture
def _environment(monkeypatch):
    """
    Have an environment without anybody's Google settings.
    """
    for name in [name for name in os.environ if name.startswith(("GOOGLE_", "GCLOUD_", "PUBSUB_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def server(servers, _environment):
    """
    Give a server that keeps the order.
    """
    running = servers.get("ordered-pubsub")
    running.forget()
    return running


@pytest.fixture
def topic(server):
    """
    Give the id of a new topic.
    """
    topic_id = f"calls-{next(TOPICS)}"
    server.api.create(f"projects/shop/topics/{topic_id}")
    return topic_id


@pytest.fixture
def options(server, topic):
    """
    Give a function that makes options.
    """

    def make(**changes) -> PubsubOptions:
        return PubsubOptions(**{"project_id": "shop", "topic_id": topic, "endpoint": server.endpoint, **changes})

    return make


@pytest.fixture
def pull(server, topic):
    """
    Give a function that takes what is new in the topic.
    """
    return lambda: server.api.pull(f"projects/shop/topics/{topic}")


@pytest.fixture(scope="module")
def issued(tmp_path_factory):
    """
    Give the certificates of an authority that nobody else trusts.
    """
    return certificates.issue(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def key():
    """
    Give a service account's key.
    """
    private = rsa.generate_private_key(65537, 2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "client_email": "calls@shop.example",
        "private_key_id": "k1",
        "private_key": pem.decode(),
        "token_uri": "http://127.0.0.1:9",
    }


class Opened:
    """
    A sink that is open inside `async with`; `send` gives the outcomes.
    """

    def __init__(self, options):
        self.sink = PubsubSink(options)

    async def __aenter__(self):
        await self.sink.open()
        return self

    async def __aexit__(self, *_):
        await self.sink.close()

    async def send(self, batch):
        return list((await self.sink.send(batch)).of(batch))


async def send(options, batch):
    async with Opened(options) as sink:
        return await sink.send(batch)


def no_thread(*_):
    raise RuntimeError("can't create new thread at interpreter shutdown")


def batch_of_sizes(call, *sizes):
    return Batch([Record(call(otel_llm__event__type="api_call"), b"x" * size) for size in sizes])


def kinds(outcomes):
    return [type(outcome) for outcome in outcomes]


def numbers(messages):
    return [json.loads(message.data)["attributes"]["acme.number"] for message in messages]


@pytest.fixture
def numbered(call, batch_of):
    """
    Give a function that makes a batch of numbered records, each of the tenant that is named.
    """

    def make(tenants, first=0):
        events = [
            call(acme__number=number, otel_llm__label__tenant_id=tenant or None)
            for number, tenant in enumerate(tenants, first)
        ]
        return batch_of(*events)

    return make


class TestMessages:
    async def test_message(self, options, call, batch_of, pull):
        """A message's data is the body, and its attributes say what it is about."""
        event = call()
        await send(options(), batch_of(event))
        (message,) = pull()
        assert json.loads(message.data)["event_id"] == event.id
        assert message.ordering_key == ""
        assert dict(message.attributes) == {
            "event_id": event.id,
            "event_type": "api_call",
            "content_type": "application/json",
            "traceparent": f"00-{'a' * 32}-{'b' * 16}-00",
        }

    async def test_attributes(self, options, call, batch_of, pull):
        """Further attributes are filled from the event and cut to what Pub/Sub takes."""
        attributes = {"source": "shop", "tenant": "t-{label.tenant_id}", "long": "{acme.long}", "none": "{acme.none}"}
        await send(options(attributes=attributes), batch_of(call(acme__long="\N{SNOWMAN}" * 400)))
        (message,) = pull()
        own = {name: value for name, value in message.attributes.items() if name in attributes}
        assert own == {"source": "shop", "tenant": "t-t1", "long": "\N{SNOWMAN}" * 341, "none": ""}

    async def test_one_request(self, options, server, numbered):
        """A batch is one request."""
        await send(options(), numbered(["t1"] * 1000))
        assert [len(request.messages) for request in server.requests] == [1000]

    async def test_most_messages(self, options, server, numbered, pull):
        """No request holds more than 1,000 messages."""
        await send(options(flow_control_max=5000), numbered([""] * 2001))
        assert [len(request.messages) for request in server.requests] == [1000, 1000, 1]
        assert numbers(pull()) == list(range(2001))

    async def test_most_bytes(self, options, server, call, pull):
        """No request is larger than 10 MB."""
        assert set(kinds(await send(options(), batch_of_sizes(call, *[1_200_000] * 17)))) == {Delivered}
        assert [len(request.messages) for request in server.requests] == [8, 8, 1]
        assert len(pull()) == 17

    async def test_over_size(self, options, call, pull):
        """A record that makes a request larger than 10 MB, by itself, is rejected alone."""
        largest = MOST_BYTES - 300
        outcomes = await send(options(), batch_of_sizes(call, 1, largest, MOST_BYTES, 2))
        assert kinds(outcomes) == [Delivered, Delivered, Rejected, Delivered]
        assert re.fullmatch(r"10000\d\d\d bytes, and Pub/Sub takes 9999\d\d\d in one message", outcomes[2].reason)
        assert [len(message.data) for message in pull()] == [1, largest, 2]

    @pytest.mark.parametrize("spare", [0, *range(160, 260, 7)])
    async def test_largest(self, options, call, spare):
        """What is not rejected here is not too large there either."""
        (outcome,) = await send(options(), batch_of_sizes(call, MOST_BYTES - spare))
        assert outcome == Delivered() or "and Pub/Sub takes" in outcome.reason


class TestOrdering:
    async def test_key(self, options, numbered, pull):
        """Each message carries the key that its event fills in; one without the field is not ordered."""
        await send(options(ordering_key="{label.tenant_id}"), numbered(["t1", "t2", "", "t1"]))
        keys = {number: message.ordering_key for message in pull() for number in numbers([message])}
        assert keys == {0: "t1", 1: "t2", 2: "", 3: "t1"}

    async def test_plain_key(self, options, numbered, pull):
        """A key without fields is the key of all."""
        await send(options(ordering_key="llm"), numbered([""] * 3))
        assert [message.ordering_key for message in pull()] == ["llm"] * 3

    async def test_long_key(self, options, call, batch_of, pull):
        """A key is cut to what Pub/Sub takes."""
        await send(options(ordering_key="{acme.long}"), batch_of(call(acme__long="\N{SNOWMAN}" * 400)))
        assert [message.ordering_key for message in pull()] == ["\N{SNOWMAN}" * 341]

    async def test_request_for_each_key(self, options, server, numbered):
        """A request holds messages of one key only."""
        await send(options(ordering_key="{label.tenant_id}"), numbered(["t1", "t2", "t1", "", "t2"]))
        assert sorted(len(request.messages) for request in server.requests) == [1, 2, 2]

    async def test_order(self, options, numbered, pull):
        """Messages of one key arrive in order, however many requests they take."""
        tenants = ["t1", "t2", "t3"] * 100
        await send(options(ordering_key="{label.tenant_id}", flow_control_max=7), numbered(tenants))
        arrived = pull()
        for tenant in ("t1", "t2", "t3"):
            own = numbers(message for message in arrived if message.ordering_key == tenant)
            assert own == [number for number, other in enumerate(tenants) if other == tenant]

    async def test_failure_of_one_key(self, options, server, numbered, pull):
        """Where a key fails, nothing of it is sent in front of what failed; other keys go on."""
        server.fail(Code.UNAVAILABLE, key="t1")
        wanted = options(ordering_key="{label.tenant_id}", flow_control_max=2)
        async with Opened(wanted) as sink:
            outcomes = await sink.send(numbered(["t1", "t1", "t2", "t1", "t1", "t2"]))
        assert kinds(outcomes) == [Retry, Retry, Delivered, Retry, Retry, Delivered]
        assert numbers(pull()) == [2, 5]

    async def test_failure_half_way(self, options, server, numbered, pull):
        """What was taken of a key before it failed stays delivered."""
        batch = numbered(["t1"] * 6)
        async with Opened(options(ordering_key="{label.tenant_id}", flow_control_max=2)) as sink:
            server.fail_after(1, Code.ABORTED)
            outcomes = await sink.send(batch)
        assert kinds(outcomes) == [Delivered] * 2 + [Retry] * 4
        assert numbers(pull()) == [0, 1]

    async def test_resume(self, options, server, numbered, pull):
        """After a failed publish its key goes on with what is sent again, and then with what is new."""
        server.fail(Code.INTERNAL)
        async with Opened(options(ordering_key="{label.tenant_id}")) as sink:
            assert kinds(await sink.send(numbered(["t1"] * 3))) == [Retry] * 3
            await sink.send(numbered(["t1"] * 3))
            await sink.send(numbered(["t1"] * 3, first=3))
        assert numbers(pull()) == [0, 1, 2, 3, 4, 5]


class TestDelivery:
    def test_order(self, options, server, call, pull, tmp_path, monkeypatch):
        """Through failure after failure, one worker brings each key's messages once and in order."""
        monkeypatch.setattr(breaker, "BASE", 0.01)
        monkeypatch.setattr(breaker, "CAP", 0.05)
        wanted = options(ordering_key="{label.tenant_id}", flow_control_max=5)
        spec = SinkSpec(name="pubsub", make=lambda: PubsubSink(wanted), encoder=otel.encode, batch_size=50)
        server.fail(*[Code.UNAVAILABLE, Code.ABORTED, Code.INTERNAL] * 4)
        delivery = Delivery(sinks=[spec], settings=DeliverySettings(journal_dir=tmp_path))
        for number in range(300):
            delivery.append(call(acme__number=number, otel_llm__label__tenant_id=f"t{number % 3}"))
        assert delivery.flush(30)
        delivery.shutdown(5)
        arrived = pull()
        for tenant in range(3):
            own = [message for message in arrived if message.ordering_key == f"t{tenant}"]
            assert numbers(own) == list(range(tenant, 300, 3))


class TestFailures:
    @pytest.mark.parametrize(
        "code", [Code.UNAVAILABLE, Code.INTERNAL, Code.RESOURCE_EXHAUSTED, Code.ABORTED, Code.UNKNOWN]
    )
    async def test_sent_again(self, options, server, topic, numbered, code):
        """What may go better next time is sent again, once by each send, and says why."""
        server.fail(code)
        outcomes = await send(options(), numbered([""] * 2))
        assert kinds(outcomes) == [Retry, Retry]
        assert outcomes[0].reason.endswith(f" for projects/shop/topics/{topic}")
        assert server.requests == []

    async def test_asked_to_wait(self, options, server, numbered):
        """When Pub/Sub says how long to wait, the courier is told."""
        status = status_pb2.Status(code=Code.RESOURCE_EXHAUSTED.value[0], message="failed as told")
        info = error_details_pb2.RetryInfo()
        info.retry_delay.FromMilliseconds(2500)
        status.details.add().Pack(info)
        server.fail(Code.RESOURCE_EXHAUSTED, trailing=[("grpc-status-details-bin", status.SerializeToString())])
        (outcome,) = await send(options(), numbered(["t1"]))
        assert outcome.after == 2.5

    @pytest.mark.parametrize("code", [Code.UNAUTHENTICATED, Code.PERMISSION_DENIED])
    async def test_refused(self, options, server, topic, numbered, code):
        """Credentials that Pub/Sub does not accept are said to be that."""
        server.fail(code)
        words = rf"^Pub/Sub does not accept our credentials for projects/shop/topics/{topic}: "
        with pytest.raises(Unauthorized, match=words):
            await send(options(), numbered([""]))

    async def test_unknown_topic(self, options, numbered):
        """A topic that is not there is named; its records wait for it."""
        (outcome,) = await send(options(topic_id="nowhere"), numbered([""]))
        assert outcome.reason.startswith("there is no projects/shop/topics/nowhere: NotFound")

    async def test_poison(self, options, call, batch_of, pull):
        """A record that Pub/Sub alone knows to be wrong is found by halving, and rejected alone."""
        events = [
            call(acme__number=number, otel_llm__event__type=POISON if number == 13 else None) for number in range(20)
        ]
        outcomes = await send(options(), batch_of(*events))
        assert [number for number, kind in enumerate(kinds(outcomes)) if kind is Rejected] == [13]
        assert outcomes[13].reason.startswith("Pub/Sub does not take its ")
        assert numbers(pull()) == [number for number in range(20) if number != 13]

    async def test_no_server(self, options, numbered):
        """A server that is not there is waited for no longer than it takes to know."""
        (outcome,) = await send(options(endpoint="127.0.0.1:9"), numbered([""]))
        assert outcome.reason.startswith("ServiceUnavailable")

    async def test_timeout(self, options, server, numbered):
        """An answer that takes longer than `timeout_ms` is not waited for."""
        with server.holding():
            (outcome,) = await send(options(timeout_ms=100), numbered([""]))
        assert outcome.reason.startswith("DeadlineExceeded")

    async def test_opened_anew_by_another_worker(self, options, server, numbered, pull):
        """A send that loses its connection to another worker's opening fails as one does, and is no cancellation."""
        async with Opened(options()) as sink:
            with server.holding() as wait:
                sending = asyncio.create_task(sink.send(numbered([""])))
                await asyncio.to_thread(wait)
                sink.sink._refused = True
                await sink.sink.open()
                assert kinds(await sending) == [Retry]
            assert kinds(await sink.send(numbered([""], first=7))) == [Delivered]
        assert 7 in numbers(pull())

    async def test_end_of_the_process(self, options, server, numbered, pull, monkeypatch):
        """Where no more threads can be started, a batch is published all the same, and what fails is sent again."""
        async with Opened(options()) as sink:
            with monkeypatch.context() as patch:
                patch.setattr(pubsub_connection.native, "start_thread", no_thread)
                server.fail(Code.UNAVAILABLE)
                assert kinds(await sink.send(numbered([""]))) == [Retry]
                assert kinds(await sink.send(numbered([""]))) == [Delivered]
        assert numbers(pull()) == [0]

    async def test_not_open(self, options, numbered):
        """A sink that is not open says so."""
        with pytest.raises(NotDelivered, match=r"^the sink is not open$"):
            await PubsubSink(options()).send(numbered([""]))


class TestFlow:
    async def test_messages(self, options, server, numbered):
        """No more than `flow_control_max` messages are on their way at once, over all batches; the rest waits."""
        async with Opened(options(ordering_key="{label.tenant_id}", flow_control_max=10)) as sink:
            batches = [numbered([f"t{number}"] * 25) for number in range(4)]
            outcomes = await asyncio.gather(*map(sink.send, batches))
        assert {kind for each in outcomes for kind in kinds(each)} == {Delivered}
        assert server.busiest["messages"] <= 10

    async def test_requests(self, options, server, numbered):
        """No more than `num_goroutines` requests are on their way at once."""
        async with Opened(options(ordering_key="{label.tenant_id}", num_goroutines=2)) as sink:
            await sink.send(numbered([f"t{number}" for number in range(20)]))
        assert server.busiest["requests"] <= 2
        assert len(server.requests) == 20

    async def test_at_once(self, options, server, numbered):
        """As many keys as `num_goroutines` allows are on their way at once."""
        async with Opened(options(ordering_key="{label.tenant_id}", num_goroutines=3)) as sink:
            with server.holding() as wait:
                sending = asyncio.create_task(sink.send(numbered(["t1", "t2", "t3", "t4"])))
                for _ in range(3):
                    await asyncio.to_thread(wait)
            await sending
        assert server.busiest["requests"] == 3

    async def test_cancelled(self):
        """Room that was waited for in vain, or taken and given up, is free again."""
        flow = Flow(10)
        async with flow.room(8):
            waiting = asyncio.create_task(flow.room(5).__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        async with asyncio.timeout(1), flow.room(10):
            assert flow._free == 0
        assert flow._free == 10


class TestPlace:
    @pytest.mark.parametrize(
        ("endpoint", "secured"),
        [
            ("localhost:8085", False),
            ("http://pubsub:8085", False),
            ("pubsub.googleapis.com", True),
            ("europe-west3-pubsub.googleapis.com:443", True),
            ("https://pubsub.internal:8443/", True),
            ("googleapis.com.example:443", False),
        ],
    )
    def test_secured(self, endpoint, secured):
        """A name of Google's or an https URL is reached over TLS with credentials, all else is an emulator."""
        assert is_secured(endpoint) == secured

    @pytest.mark.parametrize(
        ("endpoint", "address"),
        [
            ("localhost:8085", "localhost:8085"),
            ("https://pubsub.internal", "pubsub.internal:443"),
            ("https://[::1]:8443/", "[::1]:8443"),
            ("pubsub.googleapis.com", "pubsub.googleapis.com:443"),
        ],
    )
    def test_address(self, endpoint, address):
        """The port is that of https where none is given."""
        assert pubsub_connection._address(endpoint, 443) == address

    async def test_emulator_variable(self, options, server, numbered, pull, monkeypatch):
        """`PUBSUB_EMULATOR_HOST` names the place, unless `endpoint` does."""
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.endpoint)
        await send(options(endpoint=""), numbered([""]))
        assert numbers(pull()) == [0]
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:9")
        await send(options(), numbered([""], first=1))
        assert numbers(pull()) == [1]


class TestCredentials:
    @pytest.fixture
    def federated(self, tmp_path):
        """
        Give a function that makes credentials of workforce federation, with tokens from a URL.
        """
        (tmp_path / "token").write_text("subject")

        def make(url) -> Secret:
            document = {
                "type": "external_account",
                "audience": "//iam.googleapis.com/locations/global/workforcePools/p/providers/x",
                "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                "token_url": url,
                "credential_source": {"file": str(tmp_path / "token")},
            }
            return Secret(json.dumps(document))

        return make

    @pytest.fixture
    def server(self, servers, _environment, issued):
        """
        Give a server that shows a certificate.
        """
        running = servers.get("ordered-pubsub", certificate=issued.server, authority=issued.authority)
        running.forget()
        return running

    @pytest.fixture
    def options(self, options, server, issued):
        """
        Give a function that makes options for it.
        """
        return lambda **changes: options(endpoint=f"https://{server.endpoint}", ca_file=issued.authority, **changes)

    async def test_json(self, options, server, key, numbered, pull):
        """A service account's key signs for itself."""
        await send(options(credentials_json=Secret(json.dumps(key))), numbered([""]))
        assert signers(server.tokens) == [key["client_email"]]
        assert numbers(pull()) == [0]

    async def test_file(self, options, server, key, numbered, tmp_path):
        """The same from a file."""
        (tmp_path / "key.json").write_text(json.dumps(key))
        await send(options(credentials_file=tmp_path / "key.json"), numbered([""]))
        assert signers(server.tokens) == [key["client_email"]]

    async def test_default(self, options, server, key, numbered, tmp_path, monkeypatch):
        """Where none are given they are looked for as all Google's clients do."""
        (tmp_path / "key.json").write_text(json.dumps(key))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
        await send(options(), numbered([""]))
        assert signers(server.tokens) == [key["client_email"]]

    async def test_none(self, options, numbered, tmp_path, monkeypatch):
        """Where none are found, that is said."""
        monkeypatch.setenv("NO_GCE_CHECK", "true")
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
        with pytest.raises(Unauthorized, match=r"^no credentials for Pub/Sub: DefaultCredentialsError$"):
            await send(options(), numbered([""]))

    @pytest.mark.parametrize("document", [{"type": "swordfish"}, {"type": "service_account", "private_key": "hush"}])
    async def test_unusable(self, options, numbered, document):
        """What is no key is refused without a word of it."""
        with pytest.raises(Unauthorized) as caught:
            await send(options(credentials_json=Secret(json.dumps(document))), numbered([""]))
        assert re.fullmatch(r"no credentials for Pub/Sub: \w+", str(caught.value))

    async def test_revoked(self, options, numbered, federated):
        """Credentials that are not renewed any more are refused ones."""
        with Receiver() as identity:
            identity.default = Answer(400, {"content-type": "application/json"}, b'{"error": "invalid_grant"}')
            with pytest.raises(Unauthorized, match=r"^no access token for projects/shop/topics/"):
                await send(options(credentials_json=federated(identity.url)), numbered([""]))

    async def test_no_token_now(self, options, numbered, federated):
        """A token that cannot be had at the moment is waited for."""
        with Receiver() as identity:
            identity.default = Answer(503)
            (outcome,) = await send(options(credentials_json=federated(identity.url)), numbered([""]))
        assert outcome.reason.startswith("no access token for projects/shop/topics/")

    async def test_new_ones(self, options, server, key, numbered, tmp_path):
        """Credentials that were refused are read again when the sink is opened again."""
        path = tmp_path / "key.json"
        async with Opened(options(credentials_file=written(path, key, "first@shop"))) as sink:
            server.fail(Code.UNAUTHENTICATED)
            with pytest.raises(Unauthorized):
                await sink.send(numbered([""]))
            written(path, key, "second@shop")
            await sink.sink.open()
            await sink.send(numbered([""]))
        assert signers(server.tokens) == ["first@shop", "second@shop"]

    async def test_wrong_host(self, options, servers, numbered, key, issued):
        """A certificate for another host is refused, and no credentials are sent."""
        elsewhere = servers.get("ordered-pubsub", certificate=issued.elsewhere)
        wanted = replace(options(credentials_json=Secret(json.dumps(key))), endpoint=f"https://{elsewhere.endpoint}")
        (outcome,) = await send(wanted, numbered([""]))
        assert outcome.reason.startswith("ServiceUnavailable")
        assert elsewhere.tokens == set()

    async def test_unknown_authority(self, options, server, numbered, key):
        """A certificate by an authority that nobody trusts is refused."""
        (outcome,) = await send(
            replace(options(credentials_json=Secret(json.dumps(key))), ca_file=None), numbered([""])
        )
        assert outcome.reason.startswith("ServiceUnavailable")
        assert server.tokens == set()


def signers(tokens):
    """
    Give who signed the tokens.
    """
    claims = [token.removeprefix("Bearer ").split(".")[1] for token in tokens]
    return sorted(json.loads(urlsafe_b64decode(claim + "=="))["iss"] for claim in claims)


def written(path, key, email):
    path.write_text(json.dumps({**key, "client_email": email}))
    return path


@pytest.mark.server
class TestPstest:
    """
    Google's own fake, which is written by others than our server, takes the same.
    """

    @pytest.fixture
    def server(self, servers, _environment):
        """
        Give Google's fake.
        """
        return servers.get("pstest")

    @pytest.mark.parametrize("size", [1, 100, 501, 5000])
    async def test_batches(self, options, numbered, pull, size):
        """Every message arrives once, whatever the size of the batch."""
        outcomes = await send(options(), numbered([""] * size))
        assert set(kinds(outcomes)) == {Delivered}
        assert sorted(numbers(pull())) == list(range(size))

    async def test_keys(self, options, numbered, pull):
        """Ordering keys and attributes arrive."""
        await send(options(ordering_key="{label.tenant_id}", attributes={"source": "shop"}), numbered(["t1", "t2"]))
        messages = pull()
        assert sorted(message.ordering_key for message in messages) == ["t1", "t2"]
        assert {message.attributes["source"] for message in messages} == {"shop"}

    async def test_unknown_topic(self, options, numbered):
        """A topic that is not there is named."""
        (outcome,) = await send(options(topic_id="nowhere"), numbered([""]))
        assert outcome.reason.startswith("there is no projects/shop/topics/nowhere: NotFound")


FORKING = """
import asyncio, os, sys
from otel_llm_exporters.pubsub import PubsubSink
from otel_llm_exporters.pubsub_options import PubsubOptions
from otel_llm.delivery.sink import Batch, Delivered, Record
from otel_llm.telemetry.event import Event, new_event_id

options = PubsubOptions(project_id="shop", topic_id=sys.argv[1], endpoint=sys.argv[2])

async def publish(sink, text):
    await sink.open()
    batch = Batch([Record(Event(new_event_id(), "call", 1, 1, 9, "INFO", {}), text)])
    while (await sink.send(batch)).of(batch) != [Delivered()]:
        await asyncio.sleep(0.1)

before = PubsubSink(options)
asyncio.run(publish(before, b"parent"))
child = os.fork()
asyncio.run(publish(before if child else PubsubSink(options), b"parent" if child else b"child"))
if child:
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
os._exit(0)
"""


async def test_fork(server, topic, pull):
    """A child that is forked after something was published publishes by itself, and so does its parent."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FORKING, topic, server.endpoint, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        _, words = await program.communicate()
    assert program.returncode == 0, words.decode()
    assert {message.data for message in pull()} == {b"parent", b"child"}


class TestOptions:
    def test_required(self):
        """A project and a topic have to be named."""
        _, problems = read_options(PubsubOptions, {}, "sinks.pubsub")
        assert [problem.where for problem in problems] == ["sinks.pubsub.project_id", "sinks.pubsub.topic_id"]

    def test_credentials_twice(self, tmp_path):
        """Credentials come from one place."""
        (tmp_path / "key.json").write_text("{}")
        raw = {
            "project_id": "shop",
            "topic_id": "calls",
            "credentials_file": str(tmp_path / "key.json"),
            "credentials_json": '{"type": "service_account"}',
        }
        _, (problem,) = read_options(PubsubOptions, raw, "sinks.pubsub")
        assert problem.expected == "either credentials_file or credentials_json"

    def test_credentials_json(self):
        """Credentials may be a mapping, or a file of their own, and are never shown."""
        raw = {"project_id": "shop", "topic_id": "calls", "credentials_json": {"type": "x", "private_key": "hush"}}
        options, _ = read_options(PubsubOptions, raw, "sinks.pubsub")
        assert json.loads(options.credentials_json.reveal())["private_key"] == "hush"
        assert "hush" not in repr(options)

    def test_seed_names(self):
        """`batch_size`, `batch_bytes` and `batch_delay_ms` are the courier's."""
        sink = {"project_id": "p", "topic_id": "calls", "batch_size": 7, "batch_bytes": 99, "batch_delay_ms": 10}
        loaded = load({"sinks": {"pubsub": sink}}, {})
        (settings,) = loaded.sinks
        common = settings.common
        assert (loaded.problems, common.batch_size, common.batch_bytes, common.flush_interval_ms) == ((), 7, 99, 10)
        assert set(settings.options) == {"project_id", "topic_id"}
