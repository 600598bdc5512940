"""
Virtual environments and programs that full-tier tests need, made once and kept in the user's cache folder.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-llm-tests"


def environment(name, *packages):
    """
    Give the interpreter of a virtual environment with otel-llm as it is here, OpenTelemetry's distro, and `packages`.
    """
    wanted = ("-e", str(PROJECT), "opentelemetry-distro", *packages)
    folder = CACHE / f"{name}-{_digest(sys.version, PROJECT.joinpath('pyproject.toml').read_text(), *wanted)}"
    return _made(folder, lambda: _install(folder, wanted)) / "bin" / "python"


def node_program(package, version, program):
    """
    Give the path of a program from an npm package.
    """
    folder = CACHE / f"{package.replace('/', '-')}-{version}"
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), f"{package}@{version}"]
    return _made(folder, lambda: _run(command)) / "node_modules" / ".bin" / program


def _made(folder, make):
    """
    Make the folder unless it is there whole; where that cannot be, offline say, the test is skipped.
    """
    done = folder / ".complete"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        try:
            make()
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"cannot be installed: {folder.name}: {error}")
        done.touch()
    return folder


def _install(folder, packages):
    uv = shutil.which("uv")
    if uv:
        _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
        _run([uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), *packages])
    else:
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages])


def _run(command):
    subprocess.run(command, check=True, capture_output=True, timeout=600)


def _digest(*parts):
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
