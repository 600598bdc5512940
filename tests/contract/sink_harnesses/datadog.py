from intakes import Datadog, IntakeHarness


class DatadogHarness(IntakeHarness):
    """
    Sends to a server that holds to Datadog's limits.
    """

    intake = Datadog
    variants = ({"compression": "none"}, {"compression": "gzip"}, {"tags": "team:shop,tier:gold"})
    misuses = (
        ({"api_key": None}, "api_key: found nothing, expected a value, as it has no default"),
        ({"site": "https://app.datadoghq.eu"}, "site: found 'https://app.datadoghq.eu', expected a site such as"),
        ({"tags": ["a,b"]}, "tags: found a list, expected tags such as team:shop"),
        ({"url": "http://logs.example.com"}, "expected https in url (http only to this machine), or allow_http: true"),
        ({"compression": "zstd"}, "compression: found 'zstd', expected none or gzip"),
    )
