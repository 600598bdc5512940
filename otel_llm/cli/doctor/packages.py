"""
What is installed: versions, provider SDKs and whether their calls are captured, other instrumentations.
"""

import os
import platform
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from importlib.metadata import EntryPoint
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement

from otel_llm import plugins
from otel_llm.cli.doctor.findings import Finding, Section, of_problems, section
from otel_llm.entry_points import conflicts, distribution, entry_points
from otel_llm.settings.conversion import listed

DISABLED: Final = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
OURS: Final = "otel-llm"

_SDKS: Final = (
    "openai",
    "anthropic",
    "groq",
    "mistralai",
    "google-genai",
    "cohere",
    "ollama",
    "together",
    "cerebras-cloud-sdk",
    "litellm",
    "boto3",
    "aioboto3",
)
_HTTP_CLIENTS: Final = ("httpx2", "httpx", "aiohttp", "requests", "aiobotocore", "botocore")
_OPENTELEMETRY: Final = ("opentelemetry-distro", "opentelemetry-exporter-otlp", "opentelemetry-configuration")
_FAMILIES: Final = {
    "openinference-instrumentation": "OpenInference",
    "openlit": "OpenLIT",
    "logfire": "Logfire",
    "langfuse": "Langfuse",
    "opentelemetry-instrumentation-genai": "OpenTelemetry GenAI",
    "opentelemetry-instrumentation-openai-v2": "OpenTelemetry GenAI",
    "opentelemetry-instrumentation-google-genai": "OpenTelemetry GenAI",
    "opentelemetry-instrumentation-vertexai": "OpenTelemetry GenAI",
    **{
        f"opentelemetry-instrumentation-{sdk}": "OpenLLMetry"
        for sdk in ("openai", "anthropic", "cohere", "groq", "mistralai", "bedrock", "ollama", "together", "langchain")
    },
}
"""Distribution (the longest beginning that fits) to the family of GenAI instrumentations."""


def versions() -> Section:
    """
    Say which versions are here, and whether they are ones we support.
    """
    return section("Versions", _versions())


def sdks() -> Section:
    """
    Say which provider SDKs and HTTP clients are here, and which are captured.
    """
    return section("Provider SDKs", _sdks(os.environ))


def instrumentations() -> Section:
    """
    Say which entry points clash, and who else instruments LLM calls.
    """
    return section("Instrumentations", [*_conflicts(), *_ours(), *_families(), *_only_one_may_be()])


def _versions() -> Iterator[Finding]:
    yield Finding("fact", f"Python {platform.python_version()} on {platform.system()}")
    yield Finding("fact", f"{OURS} {_version(OURS)}")
    for requirement in _requirements(OURS):
        if requirement.marker is None:
            yield _supported(requirement)
    for package in _OPENTELEMETRY:
        if found := _version(package):
            yield Finding("fact", f"{package} {found}")


def _supported(requirement: Requirement) -> Finding:
    found = _version(requirement.name)
    if found is None:
        return Finding("problem", f"{requirement.name} is not installed", f"pip install '{requirement}'")
    if not requirement.specifier.contains(found, prereleases=True):
        text = f"{requirement.name} {found} is outside the supported {requirement.specifier}"
        return Finding("problem", text, f"pip install '{requirement}'")
    return Finding("ok", f"{requirement.name} {found}")


def _sdks(environ: Mapping[str, str]) -> Iterator[Finding]:
    served = {module for client in plugins.clients().values() for module in getattr(client, "modules", ())}
    disabled = {name.strip() for name in environ.get(DISABLED, "").split(",")} & {"*", *_our_instrumentors()}
    for package in (*_SDKS, *_HTTP_CLIENTS):
        found = _version(package)
        if found is not None:
            yield _captured(package, found, served)
    if disabled:
        text = f"{DISABLED} switches off {listed(sorted(disabled), 'and')}: those calls are not captured"
        yield Finding("problem", text, f"unset {DISABLED}")


def _captured(package: str, version: str, served: set[str]) -> Finding:
    carriers = [package] if package in _HTTP_CLIENTS else _carriers(package)
    captured = [carrier for carrier in carriers if carrier in served]
    if captured:
        via = "" if captured == [package] else f" through {listed(captured, 'and')}"
        return Finding("ok", f"{package} {version}: calls are captured{via}")
    via = listed(carriers, "and") if carriers else "a client we do not know"
    if package in _HTTP_CLIENTS:
        return Finding("fact", f"{package} {version}: no client plugin")
    return Finding("warning", f"{package} {version}: calls through {via} are not captured")


def _carriers(package: str) -> list[str]:
    needed = {requirement.name for requirement in _requirements(package) if "extra" not in str(requirement.marker)}
    return [client for client in _HTTP_CLIENTS if client in needed and _version(client)]


def _conflicts() -> Iterable[Finding]:
    groups = (plugins.SINKS, plugins.DIALECTS, plugins.CLIENTS)
    return of_problems(problem for group in groups for problem in conflicts(group))


def _ours() -> Iterator[Finding]:
    expected = {
        "opentelemetry_pre_instrument": ("otel_llm",),
        "opentelemetry_instrumentor": _our_instrumentors(),
        plugins.SINKS: tuple(entry_points(plugins.SINKS)),
        plugins.DIALECTS: tuple(entry_points(plugins.DIALECTS)),
    }
    for group, names in expected.items():
        missing = [name for name in names if name not in entry_points(group)]
        if missing or not names:
            yield Finding(
                "problem", f"the entry points of {group} are not installed", f"pip install --force-reinstall {OURS}"
            )
        else:
            yield Finding("ok", f"{group}: {', '.join(sorted(names))}")


def _our_instrumentors() -> tuple[str, ...]:
    return tuple(name for name in entry_points("opentelemetry_instrumentor") if name.startswith("otel_llm_"))


def _families() -> Iterator[Finding]:
    by_sdk: dict[str, dict[str, EntryPoint]] = defaultdict(dict)
    for entry_point in metadata.entry_points(group="opentelemetry_instrumentor"):
        if family := family_of(distribution(entry_point)):
            by_sdk[_sdk(entry_point.name)][family] = entry_point
    for sdk, families in sorted(by_sdk.items()):
        yield _family(sdk, families)


def _family(sdk: str, families: Mapping[str, EntryPoint]) -> Finding:
    first, *others = sorted(families)
    if not others:
        return Finding("fact", f"{sdk}: {first} makes the spans, otel-llm enriches them and makes the records")
    text = f"{sdk} is instrumented by {listed([first, *others], 'and')}: every call has two spans"
    return Finding("problem", text, f"pip uninstall {' '.join(distribution(families[family]) for family in others)}")


def family_of(package: str) -> str | None:
    """
    Give the family of GenAI instrumentations that a distribution belongs to.
    """
    name = package.lower().replace("_", "-")
    fitting = [start for start in _FAMILIES if name == start or name.startswith(f"{start}-")]
    return _FAMILIES[max(fitting, key=len)] if fitting else None


def _sdk(instrumentor: str) -> str:
    return instrumentor.removesuffix("_v2").removesuffix("-v2").replace("_", "-").rpartition(".")[2]


def _only_one_may_be() -> Iterator[Finding]:
    for group, variable in (
        ("opentelemetry_distro", "OTEL_PYTHON_DISTRO"),
        ("opentelemetry_configurator", "OTEL_PYTHON_CONFIGURATOR"),
    ):
        names = sorted(entry_points(group))
        if len(names) > 1 and variable not in os.environ:
            text = f"{listed(names, 'and')} are all in {group}: which one is used is a matter of chance"
            yield Finding("problem", text, f"export {variable}={names[0]}")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _requirements(package: str) -> Iterator[Requirement]:
    try:
        lines = metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return
    for line in lines:
        try:
            yield Requirement(line)
        except InvalidRequirement:
            continue
