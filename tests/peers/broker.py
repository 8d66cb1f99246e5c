"""A broker that knows the bare contract and nothing else: HTTP/1.0, GET and POST.

PORT is where it listens. With JOINED set, the last message of a list has no newline.
"""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

topics = {}
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        if self.path != "/publish":
            return self.answer(404, b"")
        publish = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with lock:
            topics.setdefault(publish["topic"], []).append(publish["message"])
        self.answer(200, b"{}")

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path != "/messages":
            return self.answer(404, b"")
        topic = parse_qs(url.query)["topic"][0]
        with lock:
            messages = list(topics.get(topic, []))
        if "JOINED" in os.environ:
            text = "\n".join(messages)
        else:
            text = "".join(message + "\n" for message in messages)
        self.answer(200, text.encode())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.end_headers()  # No Content-Length: the end of the connection ends the body.
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
