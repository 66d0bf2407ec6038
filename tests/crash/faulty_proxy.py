"""An HTTP proxy in front of an S3 server that delays and loses requests and responses, by a seed."""

import http.client
import http.server
import random
import threading
import time

# Probabilities of each fault, for one request.
LOSE_REQUEST, LOSE_RESPONSE, CUT_RESPONSE, DELAY = 0.03, 0.06, 0.03, 0.25
LONGEST_DELAY_SECONDS = 0.4
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection"}


class FaultyProxy:
    """One proxy on a loopback port, for one client. `faults` switches the faults on."""

    def __init__(self, target_port, seed):
        self.target_port = target_port
        self.rng = random.Random(seed)
        self.faults = True
        self.lock = threading.Lock()
        self.in_flight = 0
        self.counts = {}
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                proxy.forward(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # A client that was killed is no error here.
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def drain(self, seconds=20):
        """Waits until no request is on its way."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with self.lock:
                if self.in_flight == 0:
                    return
            time.sleep(0.01)
        raise AssertionError("requests stay on their way")

    def decide(self, method):
        """The faults of one request, as (fault, delay before it, delay after it)."""
        with self.lock:
            if not self.faults:
                return "none", 0, 0
            draw = self.rng.random()
            delays = [self.rng.uniform(0, LONGEST_DELAY_SECONDS) if self.rng.random() < DELAY else 0 for _ in range(2)]
            fault = "none"
            for name, share in (("lose request", LOSE_REQUEST), ("lose response", LOSE_RESPONSE), ("cut response", CUT_RESPONSE)):
                if draw < share:
                    fault = name
                    break
                draw -= share
            self.counts[(method, fault)] = self.counts.get((method, fault), 0) + 1
            return fault, *delays

    def forward(self, handler):
        with self.lock:
            self.in_flight += 1
        try:
            self.forward_counted(handler)
        except OSError:
            handler.close_connection = True
        finally:
            with self.lock:
                self.in_flight -= 1

    def forward_counted(self, handler):
        length = int(handler.headers.get("Content-Length") or 0)
        body = handler.rfile.read(length)
        fault, before, after = self.decide(handler.command)
        if len(body) < length or fault == "lose request":
            handler.close_connection = True
            return
        # From here on the request arrives, whether or not its sender still lives.
        time.sleep(before)
        connection = http.client.HTTPConnection("127.0.0.1", self.target_port, timeout=30)
        try:
            connection.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
            for name, value in handler.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            handler.close_connection = True
            return
        finally:
            connection.close()
        time.sleep(after)
        if fault == "lose response":
            handler.close_connection = True
            return
        handler.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in HOP_BY_HOP | {"content-length"}:
                handler.send_header(name, value)
        head = handler.command == "HEAD"
        handler.send_header("Content-Length", response.getheader("Content-Length", "0") if head else str(len(content)))
        handler.end_headers()
        if not head:
            cut = len(content) // 2 if fault == "cut response" and content else len(content)
            handler.wfile.write(content[:cut])
            handler.close_connection |= cut < len(content)
