"""
Virtual environments for tests, made once and kept outside the tree.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def environment(name, *requirements, source=False, python=sys.executable):
    """
    Give the interpreter of a virtual environment with these packages; `source` adds this tree, editable, no extras.
    """
    wanted = [*requirements, *(["-e", str(ROOT)] if source else [])]
    tool = "uv" if _UV else "pip"  # what one of them makes the other cannot always change
    folder = _cache() / f"{name}-{_digest(tool, python, *wanted)}"
    interpreter = folder / "bin" / "python"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        _make(folder, python)
        install(interpreter, *wanted)
        (folder / "complete").touch()
    return str(interpreter)


def install(python, *requirements):
    """
    Install packages into an environment, by uv where there is one.
    """
    tool = [_UV, "pip", "install", "-q", "--python", str(python)] if _UV else [str(python), *_PIP, "install", "-q"]
    _run(*tool, *requirements)


def interpreters():
    """
    Give the Pythons of this machine that otel-llm supports, besides the one that runs the tests, by version.
    """
    running = "{}.{}".format(*sys.version_info)
    found = {version: _interpreter(version) for version in ("3.11", "3.12", "3.13") if version != running}
    return {version: python for version, python in found.items() if python}


_UV = shutil.which("uv")
_PIP = ("-m", "pip", "--disable-pip-version-check")


def _cache():
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "otel-llm-tests"


def _digest(*parts):
    text = "\0".join([*map(str, parts), sys.version, (ROOT / "pyproject.toml").read_text()])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _make(folder, python):
    if _UV:
        _run(_UV, "venv", "-q", "--python", python, str(folder))
    else:
        _run(python, "-m", "venv", str(folder))


def _interpreter(version):
    candidates = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    return next((str(python) for python in candidates if python and _is(python, version)), None)


def _is(python, version):
    code = "import sys, venv; print('{}.{}'.format(*sys.version_info))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() == version


def _run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
