"""
The OpenTelemetry Collector, built by its own builder with the components that our configurations name.

`endpoint` is its OTLP over HTTP, `at("grpc")` the one over gRPC, `at("health")` its health check. Started without a
configuration, it keeps what it gets: `events()`, `spans()` and `metrics()` give that back.
"""

import hashlib
import json
import time
import urllib.request

from tests.servers.kit import cache, otlp_file, ports
from tests.servers.kit import install as installers
from tests.servers.kit.missing import tool
from tests.servers.kit.program import Program, new_folder

TIER = "full"

_CORE = "go.opentelemetry.io/collector"
_CONTRIB = "github.com/open-telemetry/opentelemetry-collector-contrib"
_MODULES = {
    "receivers": {
        f"{_CORE}/receiver/otlpreceiver": "v0.159.0",
        f"{_CONTRIB}/receiver/kafkareceiver": "v0.158.0",
        f"{_CONTRIB}/receiver/webhookeventreceiver": "v0.156.0",
    },
    "processors": {
        f"{_CORE}/processor/memorylimiterprocessor": "v0.159.0",
        f"{_CONTRIB}/processor/tailsamplingprocessor": "v0.157.0",
        f"{_CONTRIB}/processor/transformprocessor": "v0.157.0",
    },
    "exporters": {
        f"{_CORE}/exporter/otlphttpexporter": "v0.159.0",
        f"{_CONTRIB}/exporter/clickhouseexporter": "v0.157.0",
        f"{_CONTRIB}/exporter/fileexporter": "v0.159.0",
        f"{_CONTRIB}/exporter/loadbalancingexporter": "v0.159.0",
        f"{_CONTRIB}/exporter/prometheusexporter": "v0.159.0",
    },
    "connectors": {f"{_CONTRIB}/connector/routingconnector": "v0.157.0"},
    "extensions": {
        f"{_CONTRIB}/extension/healthcheckextension": "v0.159.0",
        f"{_CONTRIB}/extension/storage/filestorage": "v0.159.0",
    },
    "providers": {
        f"{_CORE}/confmap/provider/envprovider": "v1.65.0",
        f"{_CORE}/confmap/provider/fileprovider": "v1.65.0",
        f"{_CORE}/confmap/provider/yamlprovider": "v1.65.0",
    },
}
"""The newest of each that fit together and can be had from Go's proxy."""

_BUILDER = f"{_CORE}/cmd/builder@v0.159.0"
_ENVIRONMENT = {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
_LONGEST_BUILD = 3000
_LONGEST_WAIT = 60

_KEPT = "kept.jsonl"
_KEEPER = {
    "receivers": {
        "otlp": {
            "protocols": {
                "grpc": {"endpoint": "${env:COLLECTOR_GRPC}"},
                "http": {"endpoint": "${env:COLLECTOR_HTTP}"},
            }
        }
    },
    "exporters": {"file": {"path": _KEPT, "append": True, "flush_interval": "20ms"}},
    "extensions": {"health_check": {"endpoint": "${env:COLLECTOR_HEALTH}"}},
    "service": {
        "extensions": ["health_check"],
        "pipelines": {
            signal: {"receivers": ["otlp"], "exporters": ["file"]} for signal in ("traces", "metrics", "logs")
        },
    },
}


def install():
    """
    Build it; gives the folder of the program.
    """
    compiler = tool("go", "see https://go.dev/dl")
    components = json.dumps(_components())
    module = _go_module()

    def build(folder):
        builder = installers.go("ocb", _BUILDER) / "builder"
        (folder / "components.yaml").write_text(components)
        (folder / "go.mod").write_text(module)
        for command in (
            [builder, "--config", "components.yaml", "--skip-compilation", "--skip-get-modules"],
            # The builder would tidy first, which brings in what only tests of its components need.
            [compiler, "build", "-mod=mod", "-p=2", "-trimpath", "-ldflags=-s -w", "-o", "collector", "."],
        ):
            installers.run(command, env=_ENVIRONMENT, cwd=folder, timeout=_LONGEST_BUILD)

    return cache.made(f"collector-{hashlib.sha256((components + module).encode()).hexdigest()[:12]}", build)


def start(config=None, **variables):
    """
    Start one with a configuration, a path or a mapping, and further variables for it.

    Its own addresses and its folder are in the variables `COLLECTOR_HTTP`, `_GRPC`, `_HEALTH` and `_STORAGE`.
    """
    program = install() / "collector"
    folder = new_folder("collector")
    addresses = {name: f"{ports.HOST}:{ports.free()}" for name in ("http", "grpc", "health")}
    own = {f"COLLECTOR_{name.upper()}": address for name, address in addresses.items()}
    return Collector(
        "collector",
        [program, *_options(config or _KEEPER, folder)],
        endpoint=addresses.pop("http"),
        others=addresses,
        ready=lambda: _is_healthy(addresses["health"]),
        folder=folder,
        env={**own, "COLLECTOR_STORAGE": str(folder), **variables},
    ).start()


class Collector(Program):
    """
    A running Collector; what it has kept survives `kill()` and `restart()`.
    """

    @property
    def kept(self):
        """The file in which it keeps what it gets."""
        return self.folder / _KEPT

    def events(self, at_least=0, scope=""):
        """
        Give the log records that it got from an instrumentation, or all, as events, as soon as there are so many.
        """
        return self._awaited(lambda: _of(scope, otlp_file.events(self.kept)), at_least)

    def spans(self, at_least=0, scope=""):
        """
        Give the spans that it got from an instrumentation, or all, as soon as there are so many.
        """
        return self._awaited(lambda: _of(scope, otlp_file.spans(self.kept)), at_least)

    def metrics(self, at_least=0):
        """
        Give the attributes of the points that it got, by the metric's name, as soon as there are so many names.
        """
        return self._awaited(lambda: otlp_file.metrics(self.kept), at_least)

    def _awaited(self, read, at_least):
        deadline = time.monotonic() + _LONGEST_WAIT
        while len(found := read()) < at_least:
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(found)} after {_LONGEST_WAIT} s, not {at_least}: {self.last_words()}")
            time.sleep(0.02)
        return found


def _of(scope, found):
    return [one for one in found if scope in {"", one.scope.name}]


def _components():
    listed = {kind: [{"gomod": f"{path} {version}"} for path, version in _MODULES[kind].items()] for kind in _MODULES}
    return {"dist": {"name": "collector", "module": "tests/collector", "output_path": "."}, **listed}


def _go_module():
    modules = {path: version for kind in _MODULES.values() for path, version in kind.items()}
    required = {**modules, f"{_CORE}/otelcol": "v0.159.0"}
    lines = "".join(f"\t{path} {version}\n" for path, version in required.items())
    return f"module tests/collector\n\ngo 1.25.0\n\nrequire (\n{lines})\n"


def _options(config, folder):
    if isinstance(config, dict):
        text, config = json.dumps(config), folder / "config.yaml"
        config.write_text(text)
    # Several of them on one machine would fight for the port of their own metrics.
    return ["--config", config, "--config", "yaml:service::telemetry::metrics::level: none"]


def _is_healthy(address):
    try:
        with urllib.request.urlopen(f"http://{address}", timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False
