"""Receives webhooks of deia: verifies each delivery, answers 204 and prints a line."""
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

MAX_BYTES = 1024 * 1024
webhook = Webhook(os.environ["WEBHOOK_SECRET"])
seen = set()  # ids of deliveries that were handled; in earnest they belong in a database


class Receiver(BaseHTTPRequestHandler):
    timeout = 10

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        if not 0 <= length <= MAX_BYTES:
            return self.answer(413)
        body = self.rfile.read(length)  # verify these bytes, not JSON made from them
        try:
            event = webhook.verify(body, dict(self.headers))
        except (WebhookVerificationError, ValueError):
            return self.answer(401)
        message = self.headers["webhook-id"]
        if message not in seen:  # a retry has the id of the first attempt
            seen.add(message)
            print(event["type"], event["data"].get("task_id", "-"), message, flush=True)
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_):
        pass  # one line for each event is enough


server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", 9000))), Receiver)
print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
