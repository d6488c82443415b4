"""Requests by name, and a backlog that holds them."""

import math

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
    asked_s: float = -math.inf,
) -> Request:
    """A request of a session called `name`; its padded audio is a second longer than `length_s`."""
    samples = np.zeros(int(length_s * 16_000), np.float32)
    key = Key(subject, str(name), 0)
    utterance = Utterance(samples, urgency is not PARTIAL)
    return Request(number, key, utterance, urgency, is_alone, asked_s)


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
