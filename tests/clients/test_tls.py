"""TLS: Docker's clients over a certificate of their own authority, HTTP/2, and a certificate that is replaced while connections live."""

import socket
import ssl
import time

import pytest
from harness.certificates import make_certificate
from harness.server import Server


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = make_certificate(folder, "first")
    with Server.fresh("tls", tls=certificate, settings={"tls_certificate": certificate, "tls_key": key}) as server:
        server.certificates = folder
        yield server


def test_push_and_pull_over_tls(secure, client, layout, tmp_path, hello):
    secure.create_repository("tls/web")
    trust = {"SSL_CERT_FILE": secure.certificates / "certificate.pem"}
    creds = f"AWS:{secure.password()}"
    client("skopeo", "copy", f"--dest-creds={creds}", f"oci:{layout}:latest", f"docker://{secure.host}/tls/web:one", env_more=trust)
    client("crane", "auth", "login", secure.host, "-u", "AWS", "--password-stdin", input=secure.password(), env_more=trust)
    assert client("crane", "digest", f"{secure.host}/tls/web:one", env_more=trust).stdout.strip() == hello.digest


def test_http2_is_offered(secure):
    context = ssl.create_default_context(cafile=secure.certificates / "certificate.pem")
    context.set_alpn_protocols(["h2", "http/1.1"])
    _, protocol = handshake(secure, context)
    assert protocol == "h2"


def test_a_new_certificate_is_served_without_a_restart(secure):
    context = ssl._create_unverified_context()
    before, _ = handshake(secure, context)
    make_certificate(secure.certificates, "second")
    deadline = time.monotonic() + 20
    while handshake(secure, context)[0] == before:
        assert time.monotonic() < deadline, "the old certificate is still served"
        time.sleep(0.2)


def handshake(server, context):
    """The certificate and the protocol that one TLS handshake ends with."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as secured:
            return secured.getpeercert(binary_form=True), secured.selected_alpn_protocol()
