"""Certificates for servers on loopback addresses."""

import os

from .process import run


NEW = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
NAMES = "subjectAltName=DNS:localhost,DNS:*.dkr.ecr.us-east-1.localhost,IP:127.0.0.1"


def make_certificate(folder, name):
    """A certificate for localhost and for registries' host names, signed by itself."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    new_key, new_certificate = folder / "key.new", folder / "certificate.new"
    run([*NEW, "-subj", f"/CN={name}", "-addext", NAMES, "-keyout", new_key, "-out", new_certificate])
    os.replace(new_key, key)
    os.replace(new_certificate, certificate)
    return key, certificate


def make_signed_certificate(folder):
    """A certificate for the same names, signed by an authority of its own: its key, itself, and the authority."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    authority_key, authority = folder / "authority-key.pem", folder / "authority.pem"
    run([*NEW, "-subj", "/CN=authority", "-keyout", authority_key, "-out", authority])
    # The default configuration would make this one an authority as well.
    configuration = folder / "openssl.cnf"
    configuration.write_text(f"[req]\ndistinguished_name=name\nx509_extensions=server\n[name]\n[server]\n{NAMES}\n")
    signed = ["-config", configuration, "-CA", authority, "-CAkey", authority_key]
    run([*NEW, *signed, "-subj", "/CN=server", "-keyout", key, "-out", certificate])
    return key, certificate, authority


def thumbprint(certificate):
    """SHA-1 of a certificate, as IAM takes it."""
    said = run(["openssl", "x509", "-in", certificate, "-noout", "-fingerprint", "-sha1"]).stdout
    return said.split("=")[1].strip().replace(":", "").lower()
