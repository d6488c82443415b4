"""The audit trail in, how many events a second it takes, and how soon they are durable, out:
`python -m bench.audit`.

events_per_s           events of 400 recorders that never pause, on two cores
ack_ms_p99             from an event to its acknowledgement, at 20,000 events a second
restart_ms_max         from a start after a kill under load to the trail that is open and checked
verify_events_per_s    rows a second that `run.py audit verify` looks through

Figures go to build/bench/audit.json; a part that is measured alone leaves the others.
"""

import argparse
from collections.abc import Callable, Mapping

from bench.audit_door import logins
from bench.audit_month import painting, reporting, verifying
from bench.audit_store import acknowledgement, restarts, throughput
from bench.scoring import keep_figures

PARTS: Mapping[str, Callable[[], Mapping[str, object]]] = {
    "throughput": throughput,
    "acknowledgement": acknowledgement,
    "restart": restarts,
    "logins": logins,
    "verifying": verifying,
    "reporting": reporting,
    "painting": painting,
}


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    for part in parser.parse_args().only:
        figures = PARTS[part]()
        keep_figures("audit", figures, [part])
        for name, value in figures.items():
            print(f"{name:32} {value}")


if __name__ == "__main__":
    main()
