"""The same streams for us and for others, side by side: `python -m bench.compare`.

Every server gets more and more streams, each time on a fresh process that has been warmed, until
its shown text takes over five seconds to settle in 5 of 100 cases, or it loses one utterance in
ten. What the columns mean is said in `bench.load`. Figures go to build/bench/compare.json as each
server is done, with largest_streams for each: the most whose shown text was settled within a second
in 95 of 100 cases, nothing lost. With `--only`, those of the other servers stay there.
"""

import argparse
import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.load import Corpus, Speaker, play_all
from bench.peers import PEERS, install, peer_process, write_weights
from bench.recordings import open_recordings
from bench.scoring import keep_figures
from bench.speakers import Earwitness
from bench.stream import GAP_S, GOOD_FINAL_MS, seal_model, server_process, tokens
from security.weights import open_pack
from server.config import load_settings
from server.packs import pack_trust

LEVELS = (1, 2, 4, 8, 16, 30)
HOPELESS_MS = 5000
HOPELESS_SHARE = 0.1
WARM_S = 5.0

Open = Callable[[], contextlib.AbstractContextManager[tuple[str, int]]]
Row = dict[str, float]


def climb(
    name: str, open_server: Open, speaker: Callable[[str], Speaker], corpus: Corpus, length_s: float
) -> list[Row]:
    """A row for each number of streams that it still copes with, and the first that it does not."""
    rows: list[Row] = []
    for n_streams in LEVELS:
        plays = [corpus.play(seed, length_s, GAP_S) for seed in range(n_streams)]
        with open_server() as (url, pid):
            new_speaker = partial(speaker, url)
            asyncio.run(play_all([corpus.play(99, WARM_S, GAP_S)], new_speaker, pid))
            row = asyncio.run(play_all(plays, new_speaker, pid)).row()
        row["utterances"] = sum(len(play.utterances) for play in plays)
        rows.append(row)
        print(f"{name:18}", *(f"{key} {value}" for key, value in row.items()), flush=True)
        is_lost = row["lost"] > HOPELESS_SHARE * row["utterances"]
        if is_lost or not row["text_final_ms_p95"] <= HOPELESS_MS:
            break
    return rows


def largest(rows: list[Row]) -> float:
    """The most streams that were served well."""
    good = (row for row in rows if row["text_final_ms_p95"] <= GOOD_FINAL_MS and not row["lost"])
    return max((row["streams"] for row in good), default=0)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each stream")
    parser.add_argument("--only", nargs="*", help="names of servers")
    arguments = parser.parse_args()
    settings = load_settings(data_folder=Path("build/bench-data"))
    seal_model(settings)
    with open_pack(settings.pack_folder, pack_trust(settings)) as pack:
        write_weights(pack.files)
    corpus = Corpus([r for r in open_recordings() if r.language == "en" and r.kind == "utterance"])
    new_token = tokens(settings)
    results: dict[str, object] = {}

    def measure(
        name: str, version: str, open_server: Open, speak: Callable[[str], Speaker]
    ) -> None:
        if arguments.only and name not in arguments.only:
            return
        rows = climb(name, open_server, speak, corpus, arguments.seconds)
        results[name] = {"version": version, "largest_streams": largest(rows), "levels": rows}
        keep_figures("compare", {name: results[name]}, [name])

    def ours(url: str) -> Speaker:
        return Earwitness(url, new_token)

    measure("earwitness", "this one", partial(server_process, settings), ours)
    for peer in PEERS:
        install(peer)
        measure(peer.name, peer.version, partial(peer_process, peer), peer.speaker)
    for name, result in results.items():
        assert isinstance(result, dict)
        print(f"{name:18} {result['version']:9} largest_streams {result['largest_streams']}")


if __name__ == "__main__":
    main()
