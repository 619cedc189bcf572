#!/usr/bin/env python3
"""A worker of a remote bot of deia, with the standard library only.

    DEIA_URL=http://127.0.0.1:8000 DEIA_KEY=deia_... python3 worker.py far-1

It leases tasks, turns their content into upper case, and reports the ends. Replace `carry_out`.
"""

import json
import os
import secrets
import socket
import sys
import threading
import time
import urllib.error
import urllib.request

URL = os.environ.get("DEIA_URL", "http://127.0.0.1:8000")
KEY = os.environ["DEIA_KEY"]
BOT = sys.argv[1]
# Each start of a worker needs a name of its own: a worker that dies is charged for what it held,
# and the numbers of its requests begin anew.
NAME = f"{socket.gethostname()}/{secrets.token_hex(4)}"


class StaleLease(Exception):
    """The attempt has ended: stop working on it."""


class Cancelled(Exception):
    """The task was cancelled."""


class Failed(Exception):
    """A failure with its class, such as `permanent`."""

    def __init__(self, message, failure_class="internal"):
        super().__init__(message)
        self.failure_class = failure_class


def post(path, body, patience=30):
    """Sends a request until it is answered: each may be repeated."""
    while True:
        request = urllib.request.Request(
            URL + path,
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=patience) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            problem = json.load(error)
            if problem.get("code") == "stale_lease":
                raise StaleLease(problem["detail"]) from error
            if error.code < 500 and error.code != 429:
                raise RuntimeError(problem["detail"]) from error
        except OSError:
            pass  # The hive is away, or the answer was lost.
        time.sleep(1)


class Attempt:
    """An attempt at a task, and its heartbeats."""

    def __init__(self, task):
        self.task = task
        self.lease = {"attempt": task["attempt"], "lease_token": task["lease_token"]}
        self.path = f"/api/v1/tasks/{task['id']}"
        self.over = threading.Event()
        self.ended_by = None
        threading.Thread(target=self.beat, daemon=True).start()

    def beat(self):
        while not self.over.wait(self.task["heartbeat_seconds"]):
            try:
                answer = post(f"{self.path}/heartbeat", self.lease)
            except StaleLease as stale:
                self.ended_by = stale
                return
            if answer["cancel"]:
                self.ended_by = Cancelled(answer.get("reason", "cancelled"))
                return

    def check(self):
        """Raises once the attempt is to be ended. Call it now and then."""
        if self.ended_by:
            raise self.ended_by

    def report(self, what, fields):
        return post(f"{self.path}/{what}", {**self.lease, **fields})


def carry_out(attempt):
    """Does the work of a task, and returns its output."""
    content = attempt.task["content"]
    if content.startswith("reject"):
        raise Failed("this worker does not do that", "permanent")
    for _ in range(int(content.split()[1]) if content.startswith("sleep") else 0):
        time.sleep(1)
        attempt.check()
    return content.upper()


def work(task):
    attempt = Attempt(task)
    try:
        try:
            attempt.report("complete", {"output": carry_out(attempt)})
        except Failed as failure:
            attempt.report("fail", {"error": str(failure), "class": failure.failure_class})
        except Cancelled as reason:
            attempt.report("fail", {"error": str(reason)})
        except StaleLease:
            raise
        except Exception as fault:  # A fault of this program must not end the worker.
            attempt.report("fail", {"error": f"{type(fault).__name__}: {fault}"})
    except StaleLease as stale:
        print(f"{task['id']}: {stale}", file=sys.stderr)
    finally:
        attempt.over.set()


def main():
    request = 0
    while True:
        request += 1
        ask = {"max": 1, "wait_ms": 20_000, "worker": NAME, "request": str(request)}
        for task in post(f"/api/v1/bots/{BOT}/lease", ask)["tasks"]:
            work(task)


if __name__ == "__main__":
    main()
