"""
A virtual environment for each peer, outside the source tree, made when it is first needed.
"""

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(os.environ.get("BENCH_ROOT") or Path(tempfile.gettempdir()) / "llm-bench")
SOURCE = Path(__file__).resolve().parent.parent

_SDKS = ("openai>=3", "anthropic>=2")
_OTEL = ("opentelemetry-api", "opentelemetry-sdk")
_DISTRO = "opentelemetry-distro>=0.65b0"
_GENAI = ("opentelemetry-instrumentation-genai-openai", "opentelemetry-instrumentation-genai-anthropic")

PACKAGES: dict[str, tuple[str, ...]] = {
    "base": (*_SDKS, *_OTEL),
    "genai": (*_SDKS, *_OTEL, *_GENAI),
    "langfuse": (*_SDKS, "langfuse"),
    "openllmetry": (*_SDKS, *_OTEL, "opentelemetry-instrumentation-openai", "opentelemetry-instrumentation-anthropic"),
    "openinference": (
        *_SDKS,
        *_OTEL,
        "openinference-instrumentation-openai",
        "openinference-instrumentation-anthropic",
    ),
    "otel-llm": (*_SDKS, "-e", str(SOURCE)),
    "distro": (*_SDKS, _DISTRO),
    "distro-otel-llm": (*_SDKS, _DISTRO, "-e", str(SOURCE)),
}


def binary(environment: str, name: str = "python") -> str:
    """
    Give the path of a program in an environment; what is there already is used as it is.
    """
    return str(_ready(environment) / "bin" / name)


@functools.cache
def _ready(environment: str) -> Path:
    folder = ROOT / "venvs" / environment
    python = folder / "bin" / "python"
    if not python.exists():
        _make(folder, PACKAGES[environment])
    # As pip leaves it for users. A module that its own process has to compile lies elsewhere in memory: its calls take
    # up to a fifth longer.
    sources = [SOURCE / name for name in ("otel_llm", "exporters", "instrumentation", "benchmarks")]
    subprocess.run([python, "-m", "compileall", "-q", folder / "lib", *sources], stdout=subprocess.DEVNULL, check=False)
    return folder


def _make(folder: Path, packages: tuple[str, ...]) -> None:
    print(f"Making {folder}, once ...", file=sys.stderr)
    uv = shutil.which("uv")
    python = str(folder / "bin" / "python")
    if uv:
        steps = ([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], [uv, "pip", "install", "--quiet"])
        install = [*steps[1], "--python", python, *packages]
        make = steps[0]
    else:
        make = [sys.executable, "-m", "venv", str(folder)]
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    try:
        subprocess.run(make, check=True)
        subprocess.run(install, check=True)
    except subprocess.CalledProcessError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
