"""Requests by name, and a backlog that holds them."""

import numpy as np

from server.backlog import Backlog, BacklogSettings, Key, Request
from server.recognition import Urgency, Utterance

FINAL, LIKELY, PARTIAL = Urgency.FINAL, Urgency.LIKELY, Urgency.PARTIAL
ONE_BY_ONE = BacklogSettings(most_utterances=1)


def asked(
    name: int | str,
    urgency: Urgency = FINAL,
    *,
    subject: str = "alice",
    length_s: float = 1.0,
    number: int = 0,
    is_alone: bool = False,
) -> Request:
    """A request of a session called `name`; its padded audio is a second longer than `length_s`."""
    samples = np.zeros(int(length_s * 16_000), np.float32)
    key = Key(subject, str(name), 0)
    return Request(number, key, Utterance(samples, urgency is not PARTIAL), urgency, is_alone)


def names(batch: list[Request]) -> list[str]:
    return [request.key.session_id for request in batch]


def filled(*requests: Request, limits: BacklogSettings | None = None) -> Backlog:
    backlog = Backlog(limits or BacklogSettings())
    for request in requests:
        backlog.add(request)
    return backlog


def take_all(backlog: Backlog, now_s: float = 0.0) -> list[list[str]]:
    batches = []
    while batch := backlog.take(now_s):
        batches.append(names(batch))
    return batches
