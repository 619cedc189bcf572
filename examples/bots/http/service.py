"""A bot that is a service: it is posted each task, and answers with the result.

Needs Python 3.9 and nothing else. PORT is the port on loopback (0: any free one),
SIGNING_SECRET the secret that the hive signs its requests with, as Standard Webhooks do.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Requests with an older timestamp are refused: somebody may have recorded them.
TOLERANCE_SECONDS = 300
MAX_BODY_BYTES = 16 << 20


def key_of(secret):
    """Returns the key of a secret: base64 after `whsec_`, the text itself otherwise."""
    prefix = "whsec_"
    if secret.startswith(prefix):
        return base64.b64decode(secret[len(prefix) :])
    return secret.encode()


def is_signed(key, headers, body):
    """Returns whether the hive has signed this request, and lately."""
    message_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    message = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(key, message, hashlib.sha256).digest()
    expected = "v1," + base64.b64encode(digest).decode()
    given = headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(expected, signature) for signature in given)


def carry_out(task):
    """Does the work: here, the content in capitals."""
    return task["content"].upper()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        # The health_url of the bot.
        self.answer(204 if self.path == "/health" else 404)

    def do_POST(self):
        length = int(self.headers.get("content-length", 0))
        if length > MAX_BODY_BYTES:
            self.close_connection = True
            return self.answer(413, {"error": "the task is too large"})
        body = self.rfile.read(length)
        if not is_signed(KEY, self.headers, body):
            # A fault of the bot: the hive tries no further tasks for a while.
            return self.answer(401, {"error": "the signature is wrong"})
        task = json.loads(body)
        if not task["content"]:
            # The task can never succeed.
            return self.answer(422, {"error": "the task has no content"})
        # Another request with this id is the same attempt.
        print("task", self.headers["webhook-id"], flush=True)
        self.answer(200, {"output": carry_out(task)})

    def answer(self, status, body=None):
        text = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        if body is not None:
            self.send_header("content-type", "application/json")
        if status != 204:
            self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    KEY = key_of(os.environ.get("SIGNING_SECRET") or sys.exit("SIGNING_SECRET is missing"))
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8900"))), Handler)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
