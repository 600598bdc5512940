"""The module that `opentelemetry-instrument` turns into flags."""

import ast
import inspect
import subprocess
import sys

from otel_llm import environment_variables
from otel_llm.settings import Settings, environment_name


def test_every_setting_is_there():
    """The module names each variable of ours, under its own name."""
    listed = {name: value for name, value in vars(environment_variables).items() if name.startswith("OTEL_")}
    expected = {environment_name(name) for name in Settings.__dataclass_fields__} - {
        "OTEL_LLM_PRICING",
        "OTEL_LLM_API",
        "OTEL_LLM_GATEWAY",
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
    }
    assert listed == {name: name for name in expected}


def test_it_imports_nothing():
    """An import could bring in a name that is a flag already, which stops the launcher."""
    tree = ast.parse(inspect.getsource(environment_variables))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def test_the_launcher_takes_them():
    """`opentelemetry-instrument` offers our variables as flags beside its own."""
    command = [
        sys.executable,
        "-c",
        "from opentelemetry.instrumentation.auto_instrumentation import run; run()",
        "--help",
    ]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "--llm_sinks" in finished.stdout, finished.stderr
