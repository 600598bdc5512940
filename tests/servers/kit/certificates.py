"""
Certificates of an authority that only the tests trust.
"""

from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization

from tests.servers.kit import ports


@dataclass(frozen=True)
class Certificates:
    """
    Files in PEM; each of `server`, `elsewhere` and `client` holds a private key and its certificate.
    """

    authority: Path
    server: Path
    """For 127.0.0.1 and localhost."""
    elsewhere: Path
    """For another host, by the same authority."""
    client: Path


def issue(folder):
    """
    Make an authority and what it vouches for.
    """
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    issued = {
        "server": authority.issue_cert(ports.HOST, "localhost"),
        "elsewhere": authority.issue_cert("elsewhere.example"),
        "client": authority.issue_cert("shop@clients.example", common_name="shop"),
    }
    for name, certificate in issued.items():
        (folder / f"{name}.pem").write_bytes(_key(certificate) + b"".join(_chain(certificate)))
    return Certificates(folder / "authority.pem", *(folder / f"{name}.pem" for name in issued))


def _key(certificate):
    """
    Give the private key in PKCS 8, the one form that Java reads.
    """
    key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, *form)


def _chain(certificate):
    return [link.bytes() for link in certificate.cert_chain_pems]
