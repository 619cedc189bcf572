#!/usr/bin/env python3
"""A worker in Python: counts the words of each task, several tasks at a time.

    deia bot add count --worker python3 /path/to/worker.py --max-concurrent 4 --launch

Only the standard library is needed. One thread reads, each task has a thread of its own,
and what they write is whole lines under a lock. Nothing else may be printed on standard
output; standard error is in the bot's log.
"""

import json
import sys
import threading

WRITING = threading.Lock()
CANCELLED: dict[tuple[str, int], threading.Event] = {}


class Cancelled(Exception):
    """The task is not wanted any more."""


def say(**message) -> None:
    """Writes a message."""
    with WRITING:
        print(json.dumps(message), flush=True)


def work(task: dict, cancelled: threading.Event) -> str:
    """Carries out a task: replace this."""
    of = {"id": task["id"], "attempt": task["attempt"]}
    words = task["content"].split()
    counts: dict[str, int] = {}
    for done, word in enumerate(words, start=1):
        if cancelled.is_set():
            raise Cancelled
        counts[word] = counts.get(word, 0) + 1
        say(type="progress", **of, value=done / len(words))
    for word, count in sorted(counts.items()):
        # What is sent so is seen while the task runs.
        say(type="output", **of, text=f"{count} {word}\n")
    return f"{len(words)} words"


def answer(task: dict) -> None:
    """Carries out a task and answers it once, whatever happens."""
    key = (task["id"], task["attempt"])
    of = {"id": task["id"], "attempt": task["attempt"]}
    try:
        output = work(task, CANCELLED[key])
        say(type="result", **of, output=output)
    except Cancelled:
        say(type="error", **of, message="given up")
    except Exception as error:  # noqa: BLE001: the hive is told, whatever it is
        say(type="error", **of, message=f"{type(error).__name__}: {error}")
    finally:
        CANCELLED.pop(key, None)


def main() -> None:
    say(type="hello", protocol=1)
    for line in sys.stdin:
        message = json.loads(line)
        match message["type"]:
            case "task":
                CANCELLED[(message["id"], message["attempt"])] = threading.Event()
                threading.Thread(target=answer, args=(message,), daemon=True).start()
            case "cancel":
                # It may have been answered meanwhile.
                event = CANCELLED.get((message["id"], message["attempt"]))
                if event is not None:
                    event.set()
            case "ping":
                say(type="pong", n=message["n"])
            case "input":
                say(type="log", level="info", message=f"someone said: {message['text']}")
            case "shutdown":
                return


if __name__ == "__main__":
    main()
