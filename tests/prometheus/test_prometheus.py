"""
Our metrics in a real Prometheus.
"""

import subprocess

import pytest

pytestmark = pytest.mark.server


def test_cost_by_tenant(scraped):
    """
    Money is told by model and by the allowed label; tenants beyond the bound share one series.
    """
    found = scraped.query("count(count by (otel_llm_label_tenant_id) (otel_llm_cost_total)) == 11")
    assert found == [({}, 11)]
    assert scraped.query('otel_llm_cost_total{otel_llm_label_tenant_id="otel.metric.overflow"}')
    assert not scraped.prometheus.query('{otel_llm_label_request!=""}')


def test_overflow_is_counted(scraped):
    """
    How often values were not told apart stands beside them.
    """
    ((labels, count),) = scraped.query("sum by (otel_llm_metric_attribute) (otel_llm_metric_overflow_total)")
    assert labels == {"otel_llm_metric_attribute": "otel_llm.label.tenant_id"}
    assert count > 0


def test_failures_are_told(scraped):
    """
    Calls that failed carry their error.
    """
    series = scraped.query('{__name__=~"gen_ai_client_(operation|inference)_duration_seconds_count", error_type!=""}')
    assert {labels["error_type"] for labels, _ in series} == {"invalid_request_error"}


def test_custom_metrics(scraped):
    """
    The application's own metrics stand beside ours, with its labels.
    """
    assert len(scraped.query("count by (stars) (shop_answers_rated_total)")) == 5
    assert scraped.query("histogram_quantile(0.5, sum by (le) (shop_answer_rating_bucket))")
    ((_, tenants),) = scraped.query("count(count by (otel_llm_label_tenant_id) (shop_answers_rated_total))")
    assert tenants <= 11


def test_what_it_is(scraped):
    """
    The service is told once, as target.
    """
    assert [labels["service_name"] for labels, _ in scraped.query("target_info")] == ["shop"]


def test_the_names_are_good_ones(scraped):
    """
    Prometheus' own linter finds nothing wrong in what we show.
    """
    command = ["promtool", "check", "metrics"]
    done = subprocess.run(command, input=scraped.page(), capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
