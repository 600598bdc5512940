"""
How OpenTelemetry is set up by its variables, and what commonly goes wrong there.
"""

import importlib.util
import os
import shutil
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from otel_llm.cli.doctor.findings import Finding, Section, section
from otel_llm.entry_points import entry_points
from otel_llm.settings import Loaded
from otel_llm.settings.conversion import listed, nearest

SIGNALS: Final = ("traces", "metrics", "logs")
_PROTOCOLS: Final = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_PORTS: Final = {"grpc": 4317, "http/protobuf": 4318}
_TRUE: Final = {"true", "1"}


def pitfalls(loaded: Loaded, *, probe: bool = True, environ: Mapping[str, str] = os.environ) -> Section:
    """
    Say where telemetry goes, and what stops it.
    """
    return section("OpenTelemetry", _Environment(loaded, environ, probe=probe).findings())


class _Environment:
    def __init__(self, loaded: Loaded, environ: Mapping[str, str], *, probe: bool) -> None:
        self.loaded = loaded
        self.environ = environ
        self.probe = probe
        self.has_distro = bool(entry_points("opentelemetry_distro"))

    def findings(self) -> Iterator[Finding]:
        yield from self.switches()
        yield from self.files()
        if self.variable("OTEL_CONFIG_FILE"):
            return
        for signal in SIGNALS:
            yield from self.signal(signal)
        yield from self.destination()
        if self.probe:
            yield from self.collectors()

    def variable(self, name: str) -> str:
        return self.environ.get(name, "").strip()

    def switches(self) -> Iterator[Finding]:
        if self.variable("OTEL_SDK_DISABLED").lower() in _TRUE:
            yield Finding("problem", "OTEL_SDK_DISABLED is set: nothing is captured", "unset OTEL_SDK_DISABLED")
        if not self.loaded.settings.enabled:
            origin = self.loaded.origins["enabled"]
            yield Finding("problem", f"otel-llm is switched off ({origin})", "export OTEL_LLM_ENABLED=true")
        if shutil.which("opentelemetry-instrument", path=self.environ.get("PATH")) is None:
            text = "opentelemetry-instrument is not on the PATH: activate the environment it is installed in"
            yield Finding("warning", text, "otel-llm run -- python app.py")

    def files(self) -> Iterator[Finding]:
        path = self.variable("OTEL_CONFIG_FILE")
        if path and not Path(path).is_file():
            yield Finding("problem", f"OTEL_CONFIG_FILE names {path}, which is no file", "unset OTEL_CONFIG_FILE")
        elif path and importlib.util.find_spec("opentelemetry.configuration") is None:
            text = "OTEL_CONFIG_FILE needs a package that is missing: the process starts without telemetry"
            yield Finding("problem", text, "pip install opentelemetry-configuration")
        elif path:
            yield Finding("fact", f"OpenTelemetry is set up by {path}; the exporter variables do not count")
        if experimental := self.variable("OTEL_EXPERIMENTAL_CONFIG_FILE"):
            text = "OTEL_EXPERIMENTAL_CONFIG_FILE is not read in Python"
            yield Finding("problem", text, f"export OTEL_CONFIG_FILE={experimental}")

    def signal(self, signal: str) -> Iterator[Finding]:
        names = self.exporters(signal)
        for name in names:
            yield self.exporter(signal, name)
        if not names:
            yield Finding("fact", f"{signal} go to no exporter")

    def exporters(self, signal: str) -> list[str]:
        default = "otlp" if self.has_distro else "none"
        text = self.variable(f"OTEL_{signal.upper()}_EXPORTER") or default
        return [name for name in dict.fromkeys(map(str.strip, text.split(","))) if name not in {"", "none"}]

    def exporter(self, signal: str, name: str) -> Finding:
        group = entry_points(f"opentelemetry_{signal}_exporter")
        variable = f"OTEL_{signal.upper()}_EXPORTER"
        entry = _PROTOCOLS.get(self.protocol(signal), "otlp_proto_grpc") if name == "otlp" else name
        if entry in group:
            return Finding("ok", f"{signal} go to {name}" + (f" ({self.endpoint(signal)})" if name == "otlp" else ""))
        text = f"{variable} is {name}, but no package provides {entry}: the whole process stays without telemetry"
        return Finding("problem", text, self.install(entry, variable, group))

    def install(self, entry: str, variable: str, group: Iterable[str]) -> str:
        if entry == "otlp_proto_grpc" and "otlp_proto_http" in group:
            return "export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
        if entry.startswith("otlp_proto"):
            return "pip install opentelemetry-exporter-otlp"
        if entry == "prometheus":
            return "pip install opentelemetry-exporter-prometheus"
        return f"export {variable}={nearest(entry, group) or 'none'}"

    def protocol(self, signal: str) -> str:
        own = self.variable(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL")
        return own or self.variable("OTEL_EXPORTER_OTLP_PROTOCOL") or "grpc"

    def endpoint(self, signal: str) -> str:
        own = self.variable(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
        default = f"http://localhost:{_PORTS.get(self.protocol(signal), 4317)}"
        parts = urlsplit(own or self.variable("OTEL_EXPORTER_OTLP_ENDPOINT") or default)
        return f"{parts.scheme}://{parts.hostname}:{parts.port or _PORTS.get(self.protocol(signal), 4317)}"

    def destination(self) -> Iterator[Finding]:
        if self.loaded.sinks or any(name.startswith("llm_") for name in self.exporters("logs")):
            return
        if any(map(self.exporters, SIGNALS)):
            yield Finding("fact", "no sink is named: records go through OpenTelemetry only")
            return
        text = "no sink and no exporter is named: what is captured goes nowhere"
        yield Finding("problem", text, "export OTEL_LLM_SINKS=sqlite")

    def collectors(self) -> Iterator[Finding]:
        signals = [signal for signal in SIGNALS if "otlp" in self.exporters(signal)]
        answers = {endpoint: _answers(endpoint) for endpoint in map(self.endpoint, signals)}
        deaf = [endpoint for endpoint, answered in answers.items() if not answered]
        if deaf:
            text = f"no collector answers at {listed(deaf, 'and')}: the exit of each process waits for it"
            unheard = [signal for signal in signals if self.endpoint(signal) in deaf]
            yield Finding(
                "problem", text, "; ".join(f"export OTEL_{signal.upper()}_EXPORTER=none" for signal in unheard)
            )


def _answers(endpoint: str) -> bool:
    parts = urlsplit(endpoint)
    try:
        socket.create_connection((parts.hostname or "localhost", parts.port or 4317), timeout=2).close()
    except OSError:
        return False
    return True
