"""
Apache Kafka 4: one node, broker and controller in one, with a listener for every way to log in.

`endpoint` is the plain listener; further ones are `sasl` (PLAIN, SCRAM and OAUTHBEARER without TLS), `ssl`, `mutual`
(asks for a client's certificate), `sasl_ssl` and `elsewhere` (TLS with another host's certificate). Topics are not made
by themselves. `certificates` holds the files for TLS.
"""

import subprocess

from confluent_kafka.admin import AdminClient, NewTopic

from tests.servers.kit import certificates, ports
from tests.servers.kit import install as installers
from tests.servers.kit.missing import tool
from tests.servers.kit.program import Program, new_folder

TIER = "full"
VERSION = "4.1.1"
USER, PASSWORD = "shop", "correct-horse"
"""For PLAIN and both kinds of SCRAM."""

_LISTENERS = {
    "plain": "PLAINTEXT",
    "sasl": "SASL_PLAINTEXT",
    "ssl": "SSL",
    "mutual": "SSL",
    "elsewhere": "SSL",
    "sasl_ssl": "SASL_SSL",
    "controller": "PLAINTEXT",
}
_CLUSTER = "b3RlbC1sbG0tdGVzdHMtMQ"
_JVM = ("-Xmx512m", "-Xms256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dorg.apache.logging.log4j.level=WARN")


def install():
    """
    Give the folder of Kafka's jars.
    """
    installers.apt("default-jre-headless", provides="java")
    installers.apt("maven", provides="mvn")
    return installers.maven(
        f"kafka-{VERSION}",
        f"org.apache.kafka:kafka_2.13:{VERSION}",
        "org.apache.logging.log4j:log4j-core:2.25.3",
        "org.apache.logging.log4j:log4j-slf4j-impl:2.25.3",
    )


def start(**settings):
    """
    Start a broker with no topics; `settings` are the broker's own, `_` for `.`.
    """
    jars = install()
    java = [tool("java", "apt-get install default-jre-headless"), *_JVM, "-cp", f"{jars}/*"]
    folder = new_folder("kafka")
    issued = certificates.issue(folder)
    addresses = {name: f"{ports.HOST}:{ports.free()}" for name in _LISTENERS}
    properties = folder / "server.properties"
    own = {name.replace("_", "."): value for name, value in settings.items()}
    properties.write_text("".join(f"{name}={value}\n" for name, value in _properties(folder, addresses, issued, own)))
    _format(java, properties)
    broker = Broker(
        "kafka",
        [*java, "kafka.Kafka", properties],
        endpoint=addresses.pop("plain"),
        others=addresses,
        folder=folder,
        timeout=120,
    )
    broker.certificates = issued
    return broker.start()


class Broker(Program):
    """
    A broker; `certificates` are those of its listeners, and of a client.
    """

    certificates = None

    def create(self, topic, partitions=1, **settings):
        """
        Make a topic; `settings` are the topic's own, `_` for `.`.
        """
        create(self.endpoint, topic, partitions, **settings)


def create(endpoint, topic, partitions=1, **settings):
    """
    Make a topic on any cluster.
    """
    own = {name.replace("_", "."): str(value) for name, value in settings.items()}
    admin = AdminClient({"bootstrap.servers": endpoint, "log_level": 0})
    made = admin.create_topics([NewTopic(topic, partitions, 1, config=own)])
    made[topic].result(30)


def _format(java, properties):
    scram = [f"--add-scram={name}=[name={USER},password={PASSWORD}]" for name in ("SCRAM-SHA-256", "SCRAM-SHA-512")]
    command = [*java, "kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(properties), *scram]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


def _properties(folder, addresses, issued, own):
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{addresses['controller']}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAIN",
        "listeners": ",".join(f"{name.upper()}://{address}" for name, address in addresses.items()),
        "listener.security.protocol.map": ",".join(f"{name.upper()}:{kind}" for name, kind in _LISTENERS.items()),
        "log.dirs": folder / "data",
        "auto.create.topics.enable": "false",
        "offsets.topic.num.partitions": 1,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        # A killed broker may come back as soon as the controller has forgotten its former self.
        "broker.session.timeout.ms": 1000,
        "broker.heartbeat.interval.ms": 200,
    }
    return [*(settings | _login() | _encryption(issued) | own).items()]


def _login():
    module = "org.apache.kafka.common.security"
    ways = {
        "plain": f'{module}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
        "scram-sha-256": f"{module}.scram.ScramLoginModule required;",
        "scram-sha-512": f"{module}.scram.ScramLoginModule required;",
        # The broker takes tokens that nobody signed.
        "oauthbearer": f'{module}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="{USER}";',
    }
    told = {"sasl.enabled.mechanisms": ",".join(map(str.upper, ways))}
    for listener in ("sasl", "sasl_ssl"):
        told |= {f"listener.name.{listener}.{way}.sasl.jaas.config": entry for way, entry in ways.items()}
    return told


def _encryption(issued):
    told = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": issued.server,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": issued.authority,
        "listener.name.mutual.ssl.client.auth": "required",
    }
    # A listener with a store of its own takes nothing from the general one.
    elsewhere = {"ssl.keystore.type": "PEM", "ssl.keystore.location": issued.elsewhere}
    return told | {f"listener.name.elsewhere.{name}": value for name, value in elsewhere.items()}
