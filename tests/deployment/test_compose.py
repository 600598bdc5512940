"""
The compose file: whole in itself, and what it joins works when the same programs run without containers.
"""

import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.conftest import eventually
from tests.deployment import variables
from tests.servers.kit import ports
from tests.servers.kit.program import Program

FOLDER = Path(__file__).parents[2] / "examples"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
APP = SERVICES["app"]["environment"] | {"OPENAI_API_KEY": ""}
COLLECTOR = FOLDER / "compose" / "collector.yaml"
READ_BY_RULES = (
    "otel_llm_cost_total",
    "gen_ai_client_operation_duration_seconds_bucket",
    "gen_ai_client_token_usage_sum",
    "otel_llm_sink_oldest_pending_seconds",
)
"""As the Collector names them, which is as Python's exporter does."""


@pytest.fixture(params=SERVICES)
def service(request):
    return SERVICES[request.param]


def test_what_it_is_for_is_there():
    """
    Application, Kafka, Collector, PostgreSQL, Prometheus and Grafana.
    """
    assert SERVICES.keys() == {"app", "kafka", "collector", "postgres", "prometheus", "grafana"}


def test_images_are_pinned(service):
    """
    Every image, also the one that ours is built from, has a version to the patch.
    """
    image = service.get("image") or re.search("^FROM (.*)", _dockerfile(service).read_text())[1]
    assert re.search(r":v?\d+\.\d+(\.\d+)?(-slim)?$", image)


def test_every_file_is_there(service):
    """
    What is mounted, and what is built from, exists; named volumes are declared.
    """
    for source in (mount.split(":")[0] for mount in service.get("volumes", ())):
        assert (FOLDER / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
    if "build" in service:
        copied = re.findall("^COPY (\\S+)", _dockerfile(service).read_text(), re.MULTILINE)
        assert all((FOLDER / service["build"]["context"] / source).exists() for source in copied)


def test_every_neighbour_is_there(service):
    """
    Hosts that a service is told of, and services it waits for, are services; those waited for to be healthy can tell.
    """
    told = " ".join(map(str, service.get("environment", {}).values()))
    hosts = set(re.findall(r"(?:^|[/@,\s])([a-z]+):\d{4,5}", told)) - {"localhost"}
    waits = service.get("depends_on", {})
    assert hosts | set(waits) <= SERVICES.keys()
    healthy = [name for name in waits if isinstance(waits, dict) and waits[name]["condition"] == "service_healthy"]
    assert all("healthcheck" in SERVICES[name] for name in healthy)


def test_every_variable_is_known(service):
    """
    What begins with `OTEL_` is read by otel-llm or OpenTelemetry, and our settings take every value.
    """
    told = {name: str(value) for name, value in service.get("environment", {}).items()}
    assert variables.unknown(told) == set()
    assert variables.problems(told) == []


def test_the_collector_is_told_what_it_asks_for():
    """
    Each variable of the Collector's configuration is set, and none that it does not read.
    """
    asked = set(re.findall(r"\$\{env:(\w+)\}", COLLECTOR.read_text()))
    assert asked == SERVICES["collector"]["environment"].keys()


def test_addresses_agree():
    """
    What one sends to, another listens at: topic, credentials, the page for Prometheus, Grafana's source.
    """
    collector, postgres = (SERVICES[name]["environment"] for name in ("collector", "postgres"))
    (job,) = yaml.safe_load((FOLDER / "compose" / "prometheus.yml").read_text())["scrape_configs"]
    (source,) = yaml.safe_load((FOLDER / "compose" / "grafana" / "datasources.yaml").read_text())["datasources"]
    assert (collector["KAFKA_TOPIC"], collector["KAFKA_BROKERS"]) == (
        APP["OTEL_LLM_KAFKA_TOPIC"],
        APP["OTEL_LLM_KAFKA_BROKERS"],
    )
    assert APP[
        "OTEL_LLM_POSTGRES_DSN"
    ] == "postgresql://{POSTGRES_USER}:{POSTGRES_PASSWORD}@postgres:5432/{POSTGRES_DB}".format(**postgres)
    assert APP["OTEL_EXPORTER_OTLP_ENDPOINT"].rpartition(":")[2] == collector["COLLECTOR_HTTP"].rpartition(":")[2]
    assert job["static_configs"] == [{"targets": ["collector:" + collector["PROMETHEUS_LISTEN"].rpartition(":")[2]]}]
    assert source["url"] == "http://prometheus:" + SERVICES["prometheus"]["ports"][0].rpartition(":")[2]


@pytest.mark.server
def test_prometheus_takes_its_configuration(servers):
    """
    Prometheus' own checker reads the file.
    """
    servers.get("prometheus")
    command = ["promtool", "check", "config", "--syntax-only", FOLDER / "compose" / "prometheus.yml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.server
def test_all_of_it_runs(servers, tmp_path):
    """
    With real servers in place of the containers, each call is a row, a record from Kafka, a span, and on the page.
    """
    kafka, postgres = servers.start("kafka"), servers.start("postgres")
    kafka.create(APP["OTEL_LLM_KAFKA_TOPIC"], partitions=3)
    page = f"{ports.HOST}:{ports.free()}"
    told = {"KAFKA_BROKERS": kafka.endpoint, "KAFKA_TOPIC": APP["OTEL_LLM_KAFKA_TOPIC"], "PROMETHEUS_LISTEN": page}
    collector = servers.start("collector", config=COLLECTOR, **told)
    environment = APP | {
        "NO_PROXY": ports.HOST,
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector.endpoint}",
        "OTEL_LLM_KAFKA_BROKERS": kafka.endpoint,
        "OTEL_LLM_POSTGRES_DSN": postgres.dsn,
        "OTEL_LLM_JOURNAL_DIR": str(tmp_path / "journal"),
    }
    launcher = Path(sys.executable).with_name("opentelemetry-instrument")
    program = [launcher, sys.executable, FOLDER / "compose" / "app.py"]
    with Program("app", program, endpoint=page, env=environment, ready=lambda: True) as app:
        records = collector.events(3)
        spans = {span.span_id for span in collector.spans(3)}
        shown = eventually(lambda: _page(page), lambda text: 'otel_llm_label_tenant_id="t2"' in text, timeout=30)
        app.shut_down()
    calls = postgres.rows("SELECT span_id, labels ->> 'tenant_id' FROM llm_calls ORDER BY id")
    assert [tenant for _, tenant in calls[:3]] == ["t0", "t1", "t2"]
    assert [name for name in READ_BY_RULES if f"\n{name}{{" not in shown] == []
    assert {record.span_id for record in records[:3]} <= {span for span, _ in calls}
    assert spans & {span for span, _ in calls}


def _dockerfile(service):
    return FOLDER / service["build"]["context"] / service["build"]["dockerfile"]


def _page(address):
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            return answer.read().decode()
    except OSError:
        return ""
