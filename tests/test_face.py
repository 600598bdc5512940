"""
The face of the package: complete, true, and free of charge.
"""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import otel_llm

ROOT = Path(__file__).parents[1]
HEAVY = ("opentelemetry", "httpx", "httpx2", "openai", "msgspec", "genai_prices", "yaml", "rich", "sqlite3", "asyncio")


def for_type_checkers():
    """
    Give module and names of each import that only type checkers read.
    """
    tree = ast.parse(Path(otel_llm.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    return {node.module: tuple(alias.name for alias in node.names) for node in block.body}


def test_all_is_sorted_and_complete():
    """
    `__all__` holds every name of the face once, in order.
    """
    assert otel_llm.__all__ == sorted(otel_llm._HOME)


def test_type_checkers_see_the_same():
    """
    What a type checker imports is what a running program gets.
    """
    assert for_type_checkers() == otel_llm._HOMES


@pytest.mark.parametrize("name", otel_llm.__all__)
def test_every_name_is_there(name):
    """
    Each name is the thing of that name in its home.
    """
    assert getattr(otel_llm, name) is getattr(import_module(otel_llm._HOME[name]), name)


def test_other_names_are_not():
    """
    A name that is not on the face is an `AttributeError`, as of any module.
    """
    with pytest.raises(AttributeError, match="module 'otel_llm' has no attribute 'confgure'"):
        otel_llm.confgure  # noqa: B018 - the access is the test


def test_importing_costs_nothing():
    """
    Importing the face loads nothing heavy, neither of OpenTelemetry nor of anybody else.
    """
    code = "import sys; before = set(sys.modules); import otel_llm; print(*sys.modules.keys() - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {name.partition(".")[0] for name in done.stdout.split()} & set(HEAVY)


@pytest.mark.parametrize("module", ["otel_llm.delivery.exporter", "otel_llm_instrumentation.instrumentors"])
def test_what_opentelemetry_loads(module):
    """
    What OpenTelemetry's set-up loads imports no client: one that is missing would stop all of it.
    """
    clients = ["httpx", "httpx2", "aiohttp", "requests", "botocore", "openai", "anthropic", "aiokafka", "boto3", "rich"]
    code = f"import sys, {module}; print(*[name for name in {clients} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


@pytest.mark.slow
def test_imports_point_down_the_road():
    """
    The contracts between the floors hold.
    """
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
