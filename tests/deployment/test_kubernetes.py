"""
The Kubernetes page: its YAML holds together, and what it says of a dead container's records is so.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from opentelemetry.sdk.resources import OTELResourceDetector

from tests.conftest import eventually
from tests.deployment import variables

PAGE = (Path(__file__).parents[2] / "docs" / "kubernetes.md").read_text()
(MANIFEST,) = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
POD = MANIFEST["spec"]["template"]["spec"]
CONTAINERS = {container["name"]: container for container in POD["initContainers"] + POD["containers"]}
FIELDS = {"metadata.name", "metadata.uid", "metadata.namespace", "spec.nodeName", "status.hostIP", "status.podIP"}
PLAIN = {"PYTHONDONTWRITEBYTECODE"}

KILLED = """
import os, signal, openai, otel_llm
from otel_llm.testing import ProviderServer
otel_llm.configure(flush_interval_ms=3_600_000)
with ProviderServer() as server:
    client = openai.OpenAI(base_url=server.openai_url, api_key="sk-local")
    for _ in range(5):
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
    os.kill(os.getpid(), signal.SIGKILL)
"""


def environment(container):
    """
    Give the container's variables as the kubelet would, with the name of the field for what it looks up.
    """
    values = {}
    for variable in container["env"]:
        value = variable.get("value") or variable["valueFrom"]["fieldRef"]["fieldPath"]
        values[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], value)
    return values


@pytest.fixture(params=CONTAINERS)
def container(request):
    return CONTAINERS[request.param]


def test_every_variable_is_known(container):
    """
    Each name is read by otel-llm, OpenTelemetry or Python, or by another variable; our settings take every value.
    """
    told = environment(container)
    used = {name for variable in container["env"] for name in re.findall(r"\$\((\w+)\)", variable.get("value", ""))}
    assert variables.unknown(told) == set()
    assert variables.problems(told) == []
    assert {name for name in told if not name.startswith("OTEL_")} == used | PLAIN


def test_the_downward_api(container):
    """
    Only fields are asked for that a container's environment can be given; labels are those of the pod.
    """
    labels = {f"metadata.labels['{name}']" for name in MANIFEST["spec"]["template"]["metadata"]["labels"]}
    asked = {each["valueFrom"]["fieldRef"]["fieldPath"] for each in container["env"] if "valueFrom" in each}
    assert asked <= FIELDS | labels


def test_resource_attributes(container, monkeypatch):
    """
    OpenTelemetry reads the resource as it was meant, without a stray space.
    """
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", environment(container)["OTEL_RESOURCE_ATTRIBUTES"])
    attributes = dict(OTELResourceDetector().detect().attributes)
    assert attributes == {
        "service.version": "metadata.labels['app.kubernetes.io/version']",
        "service.instance.id": "metadata.uid",
        "k8s.pod.name": "metadata.name",
        "k8s.pod.uid": "metadata.uid",
        "k8s.namespace.name": "metadata.namespace",
        "k8s.node.name": "spec.nodeName",
    }


def test_nothing_is_written_but_the_journal(container):
    """
    The root cannot be written to, and the journal lies on the volume, which holds more than it may take.
    """
    (mount,) = container["volumeMounts"]
    (volume,) = POD["volumes"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert mount == {"name": volume["name"], "mountPath": environment(container)["OTEL_LLM_JOURNAL_DIR"]}
    assert (volume["emptyDir"]["sizeLimit"], environment(container)["OTEL_LLM_JOURNAL_MAX_BYTES"]) == ("1Gi", "512 MiB")


def test_the_formula_for_several_processes():
    """
    By the formula that the page gives its example fits, and so does the one process of the pod.
    """
    share = float(re.search(r"\*\*`JOURNAL_MAX_BYTES` = ([\d.]+) . `sizeLimit` / number of processes\*\*", PAGE)[1])
    told = re.search(r"such as (\d+ MiB)\s+for gunicorn's four workers in `1Gi`", PAGE)[1]
    assert size(told) <= share * 2**30 / 4
    assert size(environment(CONTAINERS["shop"])["OTEL_LLM_JOURNAL_MAX_BYTES"]) <= share * 2**30


def size(text):
    return int(text.removesuffix(" MiB")) * 2**20


def test_the_grace_period_holds_it_all():
    """
    preStop, the application's own end, ours and the drain fit into the time there is.
    """
    shop, drain = CONTAINERS["shop"], CONTAINERS["drain"]
    stop = int(shop["lifecycle"]["preStop"]["exec"]["command"][-1])
    leave = int(environment(shop)["OTEL_LLM_EXIT_TIMEOUT_MS"]) / 1000
    patience = int(re.search(r"--patience (\d+)", drain["command"][-1])[1])
    assert drain["restartPolicy"] == "Always"
    assert stop + leave + patience < POD["terminationGracePeriodSeconds"]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a read-only root needs Linux")
def test_the_sidecar_delivers_what_a_killed_container_left(tmp_path):
    """
    With a read-only root a process is killed before it delivered; told to end, the sidecar delivers its records.
    """
    told = environment(CONTAINERS["drain"]) | {
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LLM_SINKS": "jsonl",
        "OTEL_LLM_JSONL_PATH": str(tmp_path / "calls"),
        "OTEL_LLM_JOURNAL_DIR": str(tmp_path / "journal"),
        "NO_PROXY": "127.0.0.1",
        "HOME": "/nowhere",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    killed = subprocess.run(
        [*_read_only(tmp_path), sys.executable, "-c", KILLED], env=told, capture_output=True, text=True, check=False
    )
    assert (killed.returncode, killed.stderr) == (-signal.SIGKILL, "")
    assert not list((tmp_path / "calls").rglob("*.json*"))
    with subprocess.Popen(
        CONTAINERS["drain"]["command"], env=told, start_new_session=True, stdout=subprocess.DEVNULL
    ) as sidecar:
        children = Path(f"/proc/{sidecar.pid}/task/{sidecar.pid}/children")
        eventually(children.read_text, bool)  # it waits, so its trap is set
        sidecar.terminate()
        sidecar.wait(30)
        os.killpg(sidecar.pid, signal.SIGKILL)
    lines = [line for file in (tmp_path / "calls").rglob("*.jsonl") for line in file.read_text().splitlines()]
    assert len(set(lines)) == 5


def _read_only(folder):
    """
    Give the command that makes the root read-only for what it runs, but for one folder; none where nobody may do that.
    """
    script = 'mount --make-rprivate / && mount --bind "$0" "$0" && mount -o remount,bind,ro / && exec "$@"'
    command = [shutil.which("unshare") or "unshare", "-m", "sh", "-c", script, str(folder)]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to mount")
    return command
