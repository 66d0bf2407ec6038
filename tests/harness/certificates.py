"""Certificates for servers on loopback addresses."""

import os

from .process import run


def make_certificate(folder, name):
    """A certificate for localhost and for registries' host names, signed by itself."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    new_key, new_certificate = folder / "key.new", folder / "certificate.new"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = "subjectAltName=DNS:localhost,DNS:*.dkr.ecr.us-east-1.localhost,IP:127.0.0.1"
    run([*words, "-subj", f"/CN={name}", "-addext", names, "-keyout", new_key, "-out", new_certificate])
    os.replace(new_key, key)
    os.replace(new_certificate, certificate)
    return key, certificate


def thumbprint(certificate):
    """SHA-1 of a certificate, as IAM takes it."""
    said = run(["openssl", "x509", "-in", certificate, "-noout", "-fingerprint", "-sha1"]).stdout
    return said.split("=")[1].strip().replace(":", "").lower()
