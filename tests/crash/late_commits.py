"""A proxy in front of PostgreSQL that leaves commits in doubt, by a seed: the server loses its connection, and its COMMIT comes late or never.

Source: PostgreSQL's documentation, "Message Formats" of the frontend/backend protocol.
"""

import contextlib
import random
import socket
import struct
import threading
import time

# Of all commits.
IN_DOUBT = 0.02
# Of those in doubt: the others arrive.
LOST = 0.3
# Below the time after which PostgreSQL ends a transaction whose client is silent.
LONGEST_DELAY_SECONDS = 3
SSL_REQUEST = 80_877_103


class LateCommits:
    """One proxy on a loopback port. `faults` switches the faults on."""

    def __init__(self, target_port, seed):
        self.target_port = target_port
        self.rng = random.Random(seed)
        self.faults = False
        self.late, self.lost, self.waiting = 0, 0, 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def stop(self):
        self.listener.close()

    def drain(self, seconds=30):
        """Waits until no commit is on its way."""
        deadline = time.monotonic() + seconds
        while self.waiting:
            assert time.monotonic() < deadline, "commits stay on their way"
            time.sleep(0.05)

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with contextlib.suppress(OSError), client, socket.create_connection(("127.0.0.1", self.target_port)) as server:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.send_back, args=(server, client), daemon=True).start()
            try:
                self.forward(client.makefile("rb"), client, server)
            finally:
                # `send_back` reads from it, which would keep it open.
                close(server)

    def send_back(self, server, client):
        with contextlib.suppress(OSError):
            while data := server.recv(65_536):
                client.sendall(data)
        close(client)

    def forward(self, messages, client, server):
        """Passes on what the client sends, message by message. The first ones have no type."""
        code = SSL_REQUEST
        while code == SSL_REQUEST:
            head = messages.read(8)
            if len(head) < 8:
                return
            length, code = struct.unpack(">II", head)
            server.sendall(head + messages.read(length - 8))
        while len(head := messages.read(5)) == 5:
            body = messages.read(struct.unpack(">I", head[1:])[0] - 4)
            delay = self.decide() if head[:1] == b"Q" and body.startswith(b"COMMIT") else 0
            if delay is None:
                close(client)
                return
            if delay > 0:
                self.send_late(head + body, delay, client, server)
                return
            server.sendall(head + body)

    def send_late(self, commit, delay, client, server):
        close(client)
        try:
            time.sleep(delay)
            server.sendall(commit)
            # It is committed once the response is there, which `send_back` reads.
            time.sleep(0.5)
        finally:
            with self.lock:
                self.waiting -= 1

    def decide(self):
        """After how many seconds a commit arrives, 0 for at once; `None` where it never does."""
        with self.lock:
            if not self.faults or self.rng.random() >= IN_DOUBT:
                return 0
            if self.rng.random() < LOST:
                self.lost += 1
                return None
            self.late += 1
            self.waiting += 1
            return self.rng.uniform(0.01, LONGEST_DELAY_SECONDS)


def close(end):
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
