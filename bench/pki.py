"""Certificates and kubeconfigs of one cluster, made once and kept in its state folder."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bench.paths import CONTEXT

_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def _write_key(path: Path, key: _Key) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )


def _subject(name: str, group: str = "") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, name)])


@dataclass
class Authority:
    """A certificate authority in a folder.

    Attributes:
        folder: Holds ``ca.crt`` and, for each certificate, ``NAME.crt`` and ``NAME.key``.
    """

    folder: Path

    def __post_init__(self) -> None:
        if not (self.folder / "ca.crt").exists():
            self._create()
        key = serialization.load_pem_private_key((self.folder / "ca.key").read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("ca.key is not an elliptic-curve key: remove the pki folder and start again")
        self._key = key
        self._cert = x509.load_pem_x509_certificate((self.folder / "ca.crt").read_bytes())

    def _create(self) -> None:
        key, name = ec.generate_private_key(ec.SECP256R1()), _subject("selfheal-bench-ca")
        builder = _builder(name, name, key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        _write_key(self.folder / "ca.key", key)
        (self.folder / "ca.crt").write_bytes(
            builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        accounts = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        _write_key(self.folder / "sa.key", accounts)
        (self.folder / "sa.pub").write_bytes(
            accounts.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def issue(self, file: str, name: str, group: str = "", hosts: tuple[str, ...] = ()) -> tuple[Path, Path]:
        """A certificate for server and client use; made once.

        Args:
            file: Stem of the two files.
            name: Common name, which Kubernetes reads as the user.
            group: Organisation, which it reads as the group.
            hosts: Addresses and DNS names of a server.

        Returns:
            Paths of the certificate and of its key.
        """
        crt, key_file = self.folder / f"{file}.crt", self.folder / f"{file}.key"
        if crt.exists():
            return crt, key_file
        key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = _builder(_subject(name, group), self._cert.subject, key).add_extension(usage, critical=False)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([_host(h) for h in hosts]), critical=False)
        _write_key(key_file, key)
        crt.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        return crt, key_file

    def kubeconfig(self, path: Path, server: str, name: str, group: str = "") -> Path:
        """A kubeconfig for a client certificate; written anew, since the server's port may have changed."""
        crt, key = self.issue(f"client-{name.replace(':', '-')}", name, group)
        user = {"client-certificate": str(crt.absolute()), "client-key": str(key.absolute())}
        return write_kubeconfig(path, server, self.folder / "ca.crt", user)


def write_kubeconfig(path: Path, server: str, ca: Path, user: dict[str, str]) -> Path:
    """A kubeconfig with one context named ``selfheal-bench``."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": {"server": server, "certificate-authority": str(ca.absolute())}}],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": "user"}}],
        "current-context": CONTEXT,
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def _builder(subject: x509.Name, issuer: x509.Name, key: _Key) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=3650))
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
