"""
Which environment variables there are.
"""

from importlib.metadata import entry_points

from otel_llm.settings import load


def unknown(environment):
    """
    Give the `OTEL_` variables of an environment that nobody reads.
    """
    ours = {name for name in environment if name.startswith("OTEL_LLM_")}
    known = {name for entry in entry_points(group="opentelemetry_environment_variables") for name in vars(entry.load())}
    return {name for name in environment if name.startswith("OTEL_")} - ours - known


def problems(environment):
    """
    Give what our settings do not take of an environment.
    """
    return [str(problem) for problem in load(environ=environment).problems]
