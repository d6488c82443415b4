"""The door in, what it costs and what it keeps out: `python -m bench.door`.

refuse_1mb_ms_max      processor time to refuse any input of a megabyte, or of the longest token
revoke_ms_p99          from asking for a revocation to the close of its session
expiry_overrun_ms_max  from the end of a token to the close of its session
quota_us_per_frame     all counters of a connection, for one frame
lease_…, take_place_…  see `bench/door_subjects.py`
slowloris_closed_s_max 2,000 silent and 2,000 trickling sockets: when the last of them was closed
good_client_ms_p99     an honest client's handshakes meanwhile
memory_…               MiB by which the server grew while a hundred attackers of a kind were at it
autobahn_failed        of Autobahn's cases, categories 1 to 7, 9.1, 9.2 and 10

Figures go to build/bench/door.json; a part that is measured alone leaves the others.
"""

import argparse
from collections.abc import Callable, Mapping

from bench.autobahn import autobahn
from bench.door_living import living, quota_us_per_frame
from bench.door_sockets import memory_under_attack, slowloris
from bench.door_subjects import leases, pace_us_per_frame
from bench.door_tokens import refuse_1mb_ms_max
from bench.scoring import keep_figures


def _autobahn() -> dict[str, object]:
    found = autobahn()
    failed = found["failed"]
    assert isinstance(failed, list)
    return {
        "autobahn_cases": found["n_cases"],
        "autobahn_failed": len(failed),
        "autobahn_failed_cases": failed,
    }


PARTS: Mapping[str, Callable[[], Mapping[str, object]]] = {
    "tokens": lambda: {"refuse_1mb_ms_max": round(refuse_1mb_ms_max(), 3)},
    "quotas": lambda: {"quota_us_per_frame": quota_us_per_frame(), **pace_us_per_frame()},
    "living": living,
    "subjects": leases,
    "sockets": slowloris,
    "memory": memory_under_attack,
    "autobahn": _autobahn,
}


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    for part in parser.parse_args().only:
        figures = PARTS[part]()
        keep_figures("door", figures, [part])
        for name, value in figures.items():
            print(f"{name:32} {value}")


if __name__ == "__main__":
    main()
