"""
Runs each scenario as a program of its own, inside a span that bears its name.
"""

import runpy
from pathlib import Path

from opentelemetry import trace

tracer = trace.get_tracer("scenarios")
for path in sorted(Path(__file__).with_name("scenarios").glob("*.py")):
    with tracer.start_as_current_span(path.stem):
        runpy.run_path(str(path), run_name="__main__")
