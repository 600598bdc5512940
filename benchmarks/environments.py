"""
A virtual environment for each peer, outside the source tree, made when it is first needed.
"""

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
    folder = ROOT / "venvs" / environment
    if not (folder / "bin" / "python").exists():
        _make(folder, PACKAGES[environment])
    return str(folder / "bin" / name)


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
