"""`kill -9` between pushes and the delivery of their events: a webhook gets every event of an acknowledged push, in order, signed."""

import hashlib
import hmac
import http.server
import json
import os
import random
import shutil
import threading
import time

from harness.process import free_port
from harness.server import Server

from registry import Registry

ROUNDS = max(5, int(os.environ.get("ROUNDS", "40")) // 16)
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
# Each fault in a row doubles the time to the next attempt, which comes within 16 seconds after so many.
FAULTS_IN_A_ROW = 4
# Seconds for one event.
PATIENCE = 90
SECRET = b"a secret of the webhook test"


class Receiver(http.server.ThreadingHTTPServer):
    """Takes events, except for some requests, which it refuses, cuts or keeps waiting."""

    daemon_threads = True

    def __init__(self, rng):
        super().__init__(("127.0.0.1", free_port()), Handler)
        self.rng, self.events, self.faults, self.lock = rng, [], 0, threading.Lock()
        self.in_a_row = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def tags(self):
        """The tags of the events, each when it came first."""
        with self.lock:
            first = {event["id"]: event["detail"]["image-tag"] for event in reversed(self.events)}
            order = dict.fromkeys(event["id"] for event in self.events)
        return [first[event] for event in order]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        at, signature = (part.split("=", 1)[1] for part in self.headers["Wharfinger-Signature"].split(","))
        expected = hmac.new(SECRET, at.encode() + b"." + body, hashlib.sha256).hexdigest()
        server = self.server
        with server.lock:
            fault = server.rng.choice([None, None, None, None, "refuse", "cut", "wait"])
            if server.in_a_row == FAULTS_IN_A_ROW:
                fault = None
            server.in_a_row = server.in_a_row + 1 if fault else 0
            if signature != expected or abs(time.time() - int(at)) > 60:
                server.faults += 1
            if fault is None or fault == "cut":
                # A receiver that took the event and could not say so gets it again.
                server.events.append(json.loads(body))
        if fault == "cut":
            self.close_connection = True
            return
        if fault == "wait":
            time.sleep(1.2)
            return
        self.send_response(503 if fault == "refuse" else 204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_events_survive_kills():
    print(f"SEED={SEED} ROUNDS={ROUNDS}")
    rng = random.Random(SEED)
    receiver = Receiver(random.Random(SEED + 1))
    server = Server("crash-events")
    shutil.rmtree(server.folder, ignore_errors=True)
    server.folder.mkdir(parents=True)
    secret, config = server.folder / "secret", server.folder / "events.toml"
    secret.write_bytes(SECRET + b"\n")
    config.write_text(
        f'[[events.webhooks]]\nname = "hook"\nurl = "http://127.0.0.1:{receiver.server_port}/events"\n'
        f'secret_file = "{secret}"\ntimeout_seconds = 1\n'
    )
    server.environment["WHARFINGER_CONFIG"] = config
    try:
        server.start()
        server.create_repository("crash/web")
        password, promised = server.password(), []
        for round_number in range(ROUNDS):
            registry = Registry(server.port, password)
            for count in range(rng.randint(1, 5)):
                tag = f"r{round_number}-{count}"
                registry.push_image("crash/web", tag, [tag.encode()], rng)
                promised.append(tag)
            registry.close()
            time.sleep(rng.choice([0, 0, 0.02, 0.2]))
            server.kill()
            server.start()
        # As long as they come.
        came, deadline = 0, time.monotonic() + PATIENCE
        while len(receiver.tags()) < len(promised) and time.monotonic() < deadline:
            if len(receiver.tags()) > came:
                came, deadline = len(receiver.tags()), time.monotonic() + PATIENCE
            time.sleep(0.1)
        assert receiver.tags() == promised, f"SEED={SEED}"
        assert receiver.faults == 0
        print(f"{len(promised)} events in {len(receiver.events)} deliveries")
    finally:
        server.stop()
        receiver.shutdown()
        receiver.server_close()
        shutil.rmtree(server.folder, ignore_errors=True)
