"""Refusals that no JSON Schema can announce.

Everything else that the hive refuses must be in the OpenAPI document. A rule here is a
relation to something outside the document (the clock, the settings, what is stored), or
one between fields that JSON Schema cannot compare. A refusal is excused only when every
place that it names falls under a rule.
"""

import re

import schemathesis

# (pointer or parameter, what the hive says of it)
RULES = [
    # A new task type, when there are as many as settings and other tasks allow.
    (r"(?:/tasks/\d+)?/type", r"\(tasks\.(?:per_submitter\.\*\.max_types|max_types)\)$"),
    (r"/secrets/.*", r"bots\.secret_(?:files|env) allows$"),
    # JSON Schema takes 1.0 for an integer. The hive takes what is written as one: it does not
    # guess what a fraction is meant to be.
    (r".*", r"has the wrong type: it is -?\d+\.0+, and must be a whole number"),
    # How many digits a number may have depends on its value.
    (r"(?:/tasks/\d+)?/metadata/.*", r"is a number that would lose digits; send it as a string$"),
    # A time against the clock, or against another time.
    (r"(?:/tasks/\d+)?/expires_at", r"is in the past(?:$|; it would never start$)"),
    (r"(?:/tasks/\d+)?/expires_at", r"must be later than run_at"),
    (r"/from", r"is in the future$"),
    (r"/to", r"is not later than from$"),
    # The smaller of two numbers.
    (r"(?:/tasks/\d+)?/retry/max_ms", r"less than min_ms"),
    (r"/executor/latency_ms", r"with min not above max$"),
    # A user who must be there, and has a role of its own.
    (r"/user", r"names no user; make the user first, or say new_user: true$"),
    (r"/role", r"is more than the user \".*\" may: the role \w+$"),
    # Which permissions a role has.
    (r"/scopes/\d+", r"is not among the permissions of the role"),
    # Places that webhooks may reach, by the settings or ever.
    (r"/url", r"webhooks\.allow_(?:http|ports|networks)$|; no setting allows it$"),
    # An address is more than its characters, as is a name in Punycode. The length of a URL
    # is that in bytes, percent-encoded.
    (r"/url", r"malformed: the host or the port is not valid$|has \d+ bytes; 2048 are allowed$"),
    # Names of headers are the same in any case.
    (r"/headers/.*", r"is reserved:|is given twice$"),
    # An endpoint that is there, with headers.
    (r"/headers", r"must be given again when the webhook moves"),
    # A range of addresses is the whole one, and an address is more than its characters.
    (r"/allow_ips/\d+", r"bits beyond the prefix|expected an address"),
    # Places among tasks: of a batch, and of those that were submitted.
    (r"(?:/tasks/\d+)?/depends_on/\d+", r"does not stand before|is there already|there is no task"),
    # A name in one map that must not be in another.
    (r"/secrets/.*", r"is a variable of env as well$"),
    # Sizes that a trail has had, the earlier one first.
    (r"from", r"allowed are sizes of the trail"),
    # A range of entries that a trail has: both ends, and not too far apart.
    (r"from|to", r"is missing: (?:from|to) needs it$"),
    (r"to", r"entries behind from: POST verifies|ends no range: "),
    # A parameter of the other form of the answer.
    (r"last_event_id", r"only with Accept: text/event-stream$"),
    # A value of the kind and the range that its setting has.
    (r"/value", r""),
    (r"/confirm_within_seconds", r"\(settings\.max_confirm\)$"),
    # Fields that go together, or do not, and a limit that is a setting.
    (r"/level|/reason|/auto", r"required with|not together with"),
    (r"/duration_seconds", r"degradation\.max_duration\)$"),
    (r"/executor/(?:input|output)_cents_per_million", r"costs need both prices$"),
    # Parts of a bot that its executor does not use.
    (r"/secrets/.*", r"is no secret that this kind of bot uses"),
    (r"/limits|/probe(?:/.*)?", r"starts no program|must have one of"),
    # Places that bots may reach, and headers that look like secrets.
    (r"/executor/(?:url|health_url|base_url)", r""),
    (r"/executor/headers/.*", r"reserved|given twice|looks like"),
    # A parameter of the event stream of an output.
    (r"encoding|last_event_id", r"only with Accept: text/event-stream$"),
    # A number of a request needs the name of the worker.
    (r"/worker", r"is missing: request numbers the requests of a worker$"),
    # Bots and sessions that must be there.
    (r"/receiver_bot|/sender_bot|/bot", r"there is no such bot$"),
    (r"(?:/tasks/\d+)?/session_id", r"is not an active session"),
    # Two headers that exclude each other.
    (r"If-None-Match", r"not be combined with If-Match"),
]

# Codes that are about what went before, not about the request: a cursor that no page gave
# out, a key that came with another body, a version that is not the one in force.
HISTORY = {"bad_cursor", "bad_event_id", "idempotency_mismatch", "version_mismatch"}

# An upper limit that is a setting: the document has its name. Lower limits are no settings,
# so a number within the limit is not excused.
SETTING = re.compile(
    r"(?:is|has) (\d+)\b.*(?:allowed are \d+ to|the limit is) (\d+) \([a-z_]+\.[a-z_.]+\)$"
)


def beyond_setting(said: str) -> bool:
    limit = SETTING.search(said)
    return limit is not None and int(limit[1]) > int(limit[2])


def is_rule(place: str, said: str) -> bool:
    return beyond_setting(said) or any(
        re.fullmatch(where, place, re.DOTALL) and re.search(why, said) for where, why in RULES
    )


def excused(problem: dict) -> bool:
    if problem.get("code") in HISTORY:
        return True
    if "parameter" in problem:
        # The detail ends with the catalogue's hint.
        places = [(problem["parameter"], problem["detail"].split(". Correct ")[0])]
    else:
        places = [(e["pointer"], e["detail"]) for e in problem.get("errors", [])]
    return bool(places) and all(is_rule(place, said) for place, said in places)


@schemathesis.hook
def filter_failure(context, failure, case, response):
    if type(failure).__name__ != "RejectedPositiveData":
        return True
    # The tester itself: it tries an empty text where a pattern has quotes. The document has
    # no empty ETag.
    if (case.headers or {}).get("If-Match") == "":
        return False
    try:
        return not excused(response.json())
    except ValueError:
        return True
