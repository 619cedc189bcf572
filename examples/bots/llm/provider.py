"""A provider of a language model for trials: it speaks as OpenAI does, and says again what it is
told, word by word.

Needs Python 3.9 and nothing else. PORT is the port on loopback (0: any free one), API_KEY the key
that it takes. A content of `rate limit`, `too long` or `cut` makes it answer as providers do then.
"""

import hmac
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ERRORS = {
    "rate limit": (429, "rate_limit_exceeded", {"retry-after": "1"}),
    "too long": (400, "context_length_exceeded", {}),
}


def chat(words, prompt_tokens):
    """Yields the events of a chat completion."""

    def choice(delta, finish=None):
        return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": None}

    yield choice({"role": "assistant", "content": ""})
    for word in words:
        yield choice({"content": word})
    yield choice({}, "length" if words == ["cut"] else "stop")
    yield {
        "choices": [],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": len(words),
            "total_tokens": prompt_tokens + len(words),
        },
    }


def responses(words, input_tokens):
    """Yields the events of a response."""
    yield {"type": "response.created", "response": {"status": "in_progress"}}
    for word in words:
        yield {"type": "response.output_text.delta", "delta": word}
    cut = words == ["cut"]
    usage = {
        "input_tokens": input_tokens,
        "output_tokens": len(words),
        "total_tokens": input_tokens + len(words),
    }
    response = {"usage": usage}
    if cut:
        response["incomplete_details"] = {"reason": "max_output_tokens"}
    yield {"type": "response.incomplete" if cut else "response.completed", "response": response}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        given = self.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {KEY}".encode()):
            return self.refuse(401, "invalid_api_key", {})
        if self.path == "/v1/chat/completions":
            content = request["messages"][-1]["content"]
            system = [it["content"] for it in request["messages"] if it["role"] == "system"]
            events_of, last = chat, b"data: [DONE]\n\n"
        elif self.path == "/v1/responses":
            content, system = request["input"], [request.get("instructions", "")]
            events_of, last = responses, b""
        else:
            return self.refuse(404, "not_found", {})
        if content in ERRORS:
            return self.refuse(*ERRORS[content])
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        # A token is a word here.
        words = [word if n == 0 else f" {word}" for n, word in enumerate(content.split())]
        read = len(" ".join([*system, content]).split())
        for event in events_of(words, read):
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
            self.wfile.flush()
        self.wfile.write(last)

    def refuse(self, status, code, headers):
        body = json.dumps({"error": {"message": f"this is {code}", "code": code}}).encode()
        self.send_response(status)
        for name, value in {**headers, "content-type": "application/json"}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    KEY = os.environ.get("API_KEY") or sys.exit("API_KEY is missing")
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8901"))), Handler)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
