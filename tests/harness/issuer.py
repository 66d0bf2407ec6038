"""A small OpenID Connect provider: HTTPS on a loopback port, and tokens signed by openssl."""

import base64
import http.server
import json
import ssl
import subprocess
import threading
import time

from .certificates import make_certificate, thumbprint
from .process import run


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Key:
    """A signing key: RS256 or ES256."""

    def __init__(self, folder, name, algorithm):
        self.name, self.algorithm = name, algorithm
        self.path = folder / f"{name}.pem"
        kind = ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"] if algorithm == "RS256" else ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
        run(["openssl", "genpkey", "-algorithm", *kind, "-out", self.path])

    def public(self):
        """As key sets have it."""
        shared = {"kid": self.name, "alg": self.algorithm, "use": "sig"}
        if self.algorithm == "RS256":
            modulus = run(["openssl", "rsa", "-in", self.path, "-noout", "-modulus"]).stdout.split("=")[1].strip()
            return {**shared, "kty": "RSA", "n": encoded(bytes.fromhex(modulus)), "e": "AQAB"}
        der = subprocess.run(["openssl", "pkey", "-in", self.path, "-pubout", "-outform", "DER"], check=True, capture_output=True).stdout
        point = der[-64:]
        return {**shared, "kty": "EC", "crv": "P-256", "x": encoded(point[:32]), "y": encoded(point[32:])}

    def sign(self, text):
        signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.path], input=text, check=True, capture_output=True).stdout
        return signed if self.algorithm == "RS256" else fixed_length(signed)


def fixed_length(der):
    """The two numbers of an ECDSA signature, of 32 bytes each, out of their DER sequence."""
    numbers, at = [], 2
    for _ in range(2):
        length = der[at + 1]
        numbers.append(int.from_bytes(der[at + 2 : at + 2 + length], "big").to_bytes(32, "big"))
        at += 2 + length
    return b"".join(numbers)


class Issuer:
    """A running provider. `keys` may change while it runs."""

    def __init__(self, folder):
        self.folder = folder
        self.keys = []
        self.requests = []
        key, certificate = make_certificate(folder, "issuer")
        self.thumbprint = thumbprint(certificate)
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.requests.append(self.path)
                body = json.dumps(issuer.document(self.path)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://localhost:{self.server.server_port}/jobs"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def document(self, path):
        if path == "/jobs/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        return {"keys": [key.public() for key in self.keys]}

    def add_key(self, name, algorithm):
        key = Key(self.folder, name, algorithm)
        self.keys.append(key)
        return key

    def token(self, key, **claims):
        """A token that holds for five minutes, unless the claims say otherwise."""
        now = int(time.time())
        claims = {"iss": self.url, "sub": "repo:team/web", "aud": "sts.example.com", "iat": now, "exp": now + 300, **claims}
        header = {"alg": key.algorithm, "kid": key.name, "typ": "JWT"}
        text = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"
        return f"{text}.{encoded(key.sign(text.encode()))}"

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
