"""
Addresses that a sink may post to: https, or http where nobody can listen, and never a cloud's metadata service.
"""

import ipaddress
from typing import Annotated, Final
from urllib.parse import SplitResult, urlsplit

from otel_llm.settings.conversion import Unfit, read_text
from otel_llm.settings.secret import Secret

_EXPECTED: Final = "a URL such as https://hooks.example.com/llm"

_METADATA_NAMES: Final = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
)
_METADATA_NETWORKS: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "169.254.0.0/16",  # link-local: AWS, Azure, Google, Oracle and others at 169.254.169.254, ECS at .170.2
            "fe80::/10",
            "fd00:ec2::/32",  # AWS
            "fd20:ce::254/128",  # Google
            "100.100.100.200/32",  # Alibaba
            "168.63.129.16/32",  # Azure's host agent
            "192.0.0.192/32",  # Oracle's classic regions
        ),
    )
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


def read_url(raw: object) -> Secret:
    """
    Read the URL of a receiver; it is kept as a secret, for many hold a token.
    """
    text = read_text(raw).strip()
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not text.isascii() or any(character <= " " for character in text):
        raise Unfit(_EXPECTED)
    if is_metadata(str(parts.hostname)):
        raise Unfit("the URL of a receiver, not of a cloud's metadata service")
    return Secret(text)


Url = Annotated[Secret, read_url]
"""Where to post."""


def check_scheme(url: Secret, *, allow_http: bool) -> None:
    """
    Raise `ValueError` for a URL that would send records in the clear to another machine.
    """
    parts = urlsplit(url.reveal())
    if parts.scheme == "http" and not allow_http and not _is_loopback(parts):
        raise ValueError("https in url (http only to this machine), or allow_http: true")


def is_metadata(host: str) -> bool:
    """
    Tell whether a name or an address is that of a metadata service, which hands out a machine's credentials.
    """
    name = host.lower().rstrip(".")
    try:
        address = _plain(ipaddress.ip_address(name.strip("[]").partition("%")[0]))
    except ValueError:
        return name in _METADATA_NAMES
    return any(address in network for network in _METADATA_NETWORKS)


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """
    Give the IPv4 address that an IPv6 one stands for.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_loopback(parts: SplitResult) -> bool:
    host = str(parts.hostname)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
