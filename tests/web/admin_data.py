"""A trail that was never written: events, a report and living sessions as the dashboard asks for
them, the same at every call.
"""

import random
from datetime import UTC, datetime
from hashlib import sha256

NOW_MS = int(datetime(2026, 11, 24, 14, 5, tzinfo=UTC).timestamp() * 1000)
HOUR_MS = 3_600_000
PEOPLE = ("anna.weber", "ward-7", "callcentre-04", "callcentre-11", "li.na", "archive-import")
ADDRESSES = ("10.20.4.17", "10.20.4.31", "10.20.9.2", "192.0.2.44", "2001:db8::7")
REASONS = ("token_expired", "token_bad_signature", "origin_refused", "server_full", "token_missing")


def hash_of(number: int) -> str:
    return sha256(str(number).encode()).hexdigest()[:32]


def event(seq: int, name: str, **fields) -> dict:
    at_ms = fields.pop("at_ms", NOW_MS - (400 - seq) * 41_000)
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    empty = dict.fromkeys(
        ("session_id", "subject", "token_hash", "address", "reason", "audio_ms", "bytes_received")
    )
    return {
        "seq": seq,
        "at_ms": at_ms,
        "at": at.isoformat(),
        "event": name,
        "outcome": "success",
        **empty,
        "detail": {},
        **fields,
    }


def events(n_events: int = 400) -> list[dict]:
    """Oldest first."""
    rng, made = random.Random(7), []  # noqa: S311 (figures, not secrets)
    made.append(event(1, "server.started", detail={"version": "1.0.0"}))
    while len(made) < n_events:
        seq, who = len(made) + 1, rng.randrange(len(PEOPLE))
        session = f"{hash_of(seq // 7 + 1)[:24]}"
        common = {
            "subject": PEOPLE[who],
            "address": ADDRESSES[who % len(ADDRESSES)],
            "token_hash": hash_of(who + 1),
        }
        kind = rng.random()
        if kind < 0.4:
            detail = {"issuer": "earwitness", "model": "tiny.en", "origin": None}
            made.append(event(seq, "session.started", session_id=session, **common, detail=detail))
        elif kind < 0.75:
            took = {"audio_ms": rng.randrange(900_000), "bytes_received": rng.randrange(9_000_000)}
            detail = {"close_code": 1000, "segments": rng.randrange(90), "speech_ms": 4000}
            made.append(
                event(
                    seq,
                    "session.ended",
                    session_id=session,
                    reason="stopped",
                    detail=detail,
                    **common,
                    **took,
                )
            )
        elif kind < 0.93:
            made.append(
                event(
                    seq,
                    "handshake.refused",
                    outcome="failure",
                    reason=rng.choice(REASONS),
                    address=rng.choice(ADDRESSES),
                    detail={"http_status": 401, "user_agent": "python-websockets/15.0"},
                )
            )
        else:
            made.append(event(seq, "ticket.issued", **common, detail={"issuer": "earwitness"}))
    made[-3] = event(
        n_events - 2,
        "suspicion.found",
        address="192.0.2.44",
        detail={"rule": "failures_of_address", "severity": "high", "seqs": "381 384 390"},
    )
    return made


def findings() -> list[dict]:
    def finding(rule, severity, sentence, **fields):
        common = {"subject": None, "address": None, "seqs": [381, 384, 390], "n_events": 3}
        times = {"seq": 398, "at_ms": NOW_MS - 600_000, "is_block": False}
        words = {"rule": rule, "severity": severity, "sentence": sentence}
        return {**words, **common, **times, **fields}

    return [
        finding(
            "failures_of_address",
            "high",
            "Many failed attempts from one address within five minutes.",
            address="192.0.2.44",
            is_block=True,
            n_events=23,
            seqs=list(range(360, 380)),
        ),
        finding(
            "ticket_replayed",
            "high",
            "A ticket that had been used was shown again.",
            address="10.20.9.2",
            at_ms=NOW_MS - 5_400_000,
        ),
        finding(
            "token_in_two_places",
            "medium",
            "One token was used from two addresses within ten minutes.",
            subject="callcentre-04",
            at_ms=NOW_MS - 8_000_000,
        ),
        finding(
            "limits_reached",
            "low",
            "Sessions of one subject ended at its quota again and again.",
            subject="archive-import",
            at_ms=NOW_MS - 12_000_000,
        ),
    ]


def report(hours: int, found: list[dict]) -> dict:
    rng = random.Random(hours)  # noqa: S311 (figures, not secrets)
    n_buckets, bucket_ms = (24, HOUR_MS) if hours == 24 else (hours // 24, 24 * HOUR_MS)
    start_ms = (NOW_MS // bucket_ms - n_buckets + 1) * bucket_ms
    buckets = []
    for index in range(n_buckets):
        at_ms = start_ms + index * bucket_ms
        busy = 1 if bucket_ms > HOUR_MS else (0.15, 1)[7 <= at_ms // HOUR_MS % 24 <= 18]
        sessions = int(busy * rng.uniform(25, 60) * bucket_ms / HOUR_MS)
        refusals = int(rng.uniform(0, 5)) + (31 if index == n_buckets - 2 else 0)
        audio_ms = sessions * int(rng.uniform(200_000, 420_000))
        sums = {"sessions": sessions, "audio_ms": audio_ms, "refusals": refusals}
        buckets.append({"at_ms": at_ms, **sums})
    sums = {
        name: sum(each[name] for each in buckets) for name in ("sessions", "audio_ms", "refusals")
    }
    totals = {"events": 12_408, "successes": 12_311, "failures": 97, **sums, "findings": len(found)}
    return {
        "since_ms": start_ms,
        "until_ms": NOW_MS,
        "totals": totals,
        "trend": {"bucket_ms": bucket_ms, "buckets": buckets},
        "refusals": [
            {"reason": reason, "n": n} for reason, n in zip(REASONS, (38, 14, 9, 5, 2), strict=True)
        ],
        "addresses": [
            {"address": address, "refusals": n}
            for address, n in zip(ADDRESSES, (41, 9, 6, 2, 1), strict=True)
        ],
        "subjects": [
            {"subject": subject, "sessions": 90 - 9 * index, "audio_ms": 9 * HOUR_MS, "refusals": 0}
            for index, subject in enumerate(PEOPLE)
        ],
        "events": [{"event": "session.started", "n": sums["sessions"]}],
        "findings": found,
    }


def quotas() -> list[dict]:
    used = (7.6, 5.1, 3.9, 2.2, 1.4, 0.2)
    most = (8, None, 8, 8, 4, None)
    return [
        {
            "subject": subject,
            "issuer": "earwitness",
            "audio_ms": int(hours * HOUR_MS),
            "most_audio_ms": None if limit is None else limit * HOUR_MS,
        }
        for subject, hours, limit in zip(PEOPLE, used, most, strict=True)
    ]


def latencies() -> list[dict]:
    figures = {
        "handshake": (3.1, 9.4, 18),
        "first": (310, 620, 900),
        "final": (420, 980, 1600),
        "audit": (0.9, 2.8, 6.1),
    }
    return [
        {"name": name, "n": 800, "p50_ms": half, "p95_ms": most, "p99_ms": all_but_few}
        for name, (half, most, all_but_few) in figures.items()
    ]


def state() -> dict:
    checkpoint = {"size": 41_000, "at_ms": NOW_MS - 12 * 60_000}
    chain = {
        "newest_seq": 41_203,
        "checkpoint": checkpoint,
        "segments": 2,
        "n_lost": 0,
        "gaps": 0,
        "is_failing": False,
        "write_lag_ms": 0.9,
        "is_auditor_key_here": True,
    }
    keys = {
        "model": "tiny.en",
        "pack_version": 3,
        "publisher": "5f3a-91c2-77d0-e4b8",
        "kek": "file:9c41d2",
        "slots": ["file:9c41d2", "vault:transit/earwitness"],
        "opened_at_ms": NOW_MS - 40 * HOUR_MS,
        "signing_key_id": "k-7hQ2",
        "signing_at_ms": NOW_MS - 41 * 24 * HOUR_MS,
        "server_version": "1.0.0",
    }
    return {"at_ms": NOW_MS, "chain": chain, "keys": keys}


def sessions() -> list[dict]:
    def session(number, address, origin, agent, age_ms):
        started = datetime.fromtimestamp((NOW_MS - age_ms) / 1000, UTC).isoformat()
        return {
            "session_id": hash_of(number + 90)[:24],
            "subject": PEOPLE[number],
            "issuer": "earwitness",
            "token_id": f"t-{number}",
            "key_id": "k-7hQ2",
            "address": address,
            "origin": origin,
            "user_agent": agent,
            "started_at": started,
        }

    return [
        session(1, "10.20.4.31:50312", None, "earwitness/1.0", 3_000_000),
        session(2, "10.20.9.2:41010", "https://desk.bank.example", "Mozilla/5.0 Firefox", 754_000),
        session(0, "10.20.4.17:53008", "https://desk.bank.example", "Mozilla/5.0 Chrome", 92_000),
    ]


def blocks() -> list[dict]:
    until_ms = NOW_MS + 1_320_000
    return [{"address": "192.0.2.44", "until_ms": until_ms}]
