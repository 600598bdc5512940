"""The page on metrics names what is measured."""

import re
from pathlib import Path

import pytest
from opentelemetry.metrics import NoOpMeter

import otel_llm
from otel_llm.telemetry.metrics import Metrics

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


class Meter(NoOpMeter):
    """
    Keeps the names of what is made on it.
    """

    def __init__(self):
        super().__init__("test")
        self.names = []

    def create_counter(self, name, *args, **options):
        self.names.append(name)
        return super().create_counter(name, *args, **options)

    def create_histogram(self, name, *args, **options):
        self.names.append(name)
        return super().create_histogram(name, *args, **options)


@pytest.mark.parametrize("names", ["released", "next"])
def test_every_metric_is_on_the_page(names):
    """What is measured is described, each by its name or the end of it."""
    meter = Meter()
    Metrics(meter, names=names)
    ends = [name.removeprefix("gen_ai.client.inference") for name in meter.names]
    assert len(ends) > 5
    assert [end for end in ends if f"`{end}`" not in PAGE and f"inference{end}`" not in PAGE] == []


def test_the_snippet_runs(telemetry):
    """The page's Python does what it says."""
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    otel_llm.configure(metric_labels=["tenant_id"])
    exec(snippet, {})
    (point,) = telemetry.points()["shop.answers.rated"]
    assert dict(point.attributes) == {"page": "help", "otel_llm.label.tenant_id": "t1"}
