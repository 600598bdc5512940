from intakes import IntakeHarness, NewRelic


class NewrelicHarness(IntakeHarness):
    """
    Sends to a server that holds to New Relic's limits.
    """

    intake = NewRelic
    variants = ({"compression": "none"}, {"compression": "gzip"})
    misuses = (
        ({"api_key": None}, "api_key: found nothing, expected a value, as it has no default"),
        ({"region": "asia"}, "region: found 'asia', expected us, eu or gov"),
        ({"url": "http://logs.example.com"}, "expected https in url (http only to this machine), or allow_http: true"),
        ({"compression": "zstd"}, "compression: found 'zstd', expected none or gzip"),
    )
