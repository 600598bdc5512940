"""The page on OTLP backends: what it tells to set is what OpenTelemetry and our settings read."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from opentelemetry.util.re import parse_env_headers

from otel_llm import plugins
from otel_llm.settings import load

PAGE = (Path(__file__).parents[2] / "docs" / "otlp-backends.md").read_text("utf-8")
SIGNALS = {"spans", "metrics", "records"}


def rows():
    """
    Give the cells of each backend, by its name.
    """
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line[:1] == "|")
    return {name: rest for name, *rest in list(cells)[2:]}


def quoted(cell, pattern):
    """
    Give what stands in backticks and looks like the pattern.
    """
    return [text for text in re.findall(r"`([^`]+)`", cell) if re.search(pattern, text)]


def test_backends():
    """The page has a row for each of the backends."""
    assert rows().keys() == {"Honeycomb", "Grafana Cloud", "Langfuse", "Phoenix", "New Relic"}


@pytest.mark.parametrize("name", rows())
class TestRow:
    def test_signals(self, name):
        """A row says which signals the backend takes."""
        takes, _, _ = rows()[name]
        assert {"spans"} <= set(takes.split(", ")) <= SIGNALS

    def test_endpoints(self, name):
        """Its endpoints are URLs of a host, without what exporters append: https but for this machine."""
        _, endpoint, _ = rows()[name]
        urls = [urlsplit(text) for text in quoted(endpoint, "//")]
        assert urls
        for url in urls:
            assert url.scheme == ("http" if url.hostname == "localhost" else "https")
            assert url.hostname == "localhost" or re.fullmatch(r"[\w-]+(\.[\w-]+)+", url.hostname)
            assert not url.path.endswith(("/", "/v1/traces", "/v1/logs"))
            assert not url.query

    def test_headers(self, name):
        """Its headers are read by OpenTelemetry: names, and values with a place for a key."""
        _, _, headers = rows()[name]
        told = quoted(headers, "=")
        read = parse_env_headers(",".join(told))
        assert len(told) == len(read) > 0
        assert all(re.fullmatch(r"[a-z-]+", header) for header in read)
        assert re.search(r"KEY|BASE64", read[next(iter(read))])


def test_records_by_the_webhook(tmp_path):
    """The settings for records that must not be lost are taken, and go where OTLP's receivers listen."""
    (document,) = (yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
    (tmp_path / "key").write_text("x-honeycomb-team=KEY")
    document["sinks"]["honeycomb"]["headers_file"] = str(tmp_path / "key")
    loaded = load(document, {})
    (settings,) = loaded.sinks
    sink = plugins.make_sink(settings)
    assert (loaded.problems, sink._options.url.reveal()) == ((), f"{quoted(rows()['Honeycomb'][1], '//')[0]}/v1/logs")
