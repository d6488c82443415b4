"""Random weights of Qwen3-ASR's full size in, how fast it opens and recognises out:
`python -m bench.gpu`.

There is no checkpoint on the machines where this is developed, so what is said is nonsense; but it
takes as long: the budget of every answer is what people say in the time, and no answer ends before.

pack_s, plain_s      from the sealed pack, or from the plain folder by transformers' own
                     `from_pretrained`, to a model on the device; best of the runs, caches warm
audio_s_per_s_N      seconds of speech recognised a second, finals of 5 s, N at a time, one batch
                     after the other; `hf_…`: by transformers' `generate`, in batches too
p50_ms_N, p95_ms_N   how long such a batch takes
caption_ms_N         the same for captions that go on from the one before
first_token_ms_N     until the first word of each is there
streams              real-time streams with 95 of 100 finals within 500 ms of their segment's end,
                     by simulation of the scheduler with the measured times (`bench/step_times.py`)
peak_gib             of the device's memory; on a processor, of the process

Figures go to build/bench/gpu.json, and with `--keep` beside the others in docs/bench/.
"""

import argparse
import resource
import shutil
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import transformers

from bench.qwen3 import SIZES, write_checkpoint
from bench.scoring import head_commit, machine_description, write_figures
from bench.step_times import StepTimes, most_streams, simulate
from security.weights import open_pack
from server.config import Settings, load_settings
from server.engines.tensors import Content
from server.engines.transformers_opening import WeightPlaces, open_engine
from server.engines.transformers_qwen3 import TransformersQwen3
from server.engines.transformers_settings import TransformersSettings
from server.guards import GuardSettings
from server.packs import pack_trust
from server.provision import make_keys, seal
from server.recognition import Hypothesis, Utterance
from tests.hf_models import qwen3_asr_processor

TOKENS_PER_S = 4.2
"""English at 170 words a minute, and the language before them."""
LENGTHS_S = (2.0, 5.0, 10.0)
SEGMENT_S = 5.0
KEPT_FOLDER = Path("docs/bench")


@dataclass(frozen=True, slots=True)
class Asked:
    """What to measure."""

    size: str
    device: Literal["cpu", "cuda"]
    batches: Sequence[int]
    runs: int
    folder: Path


def sealed(asked: Asked, plain: Path) -> Settings:
    """The same as a pack."""
    settings = load_settings(data_folder=asked.folder / "data", model="qwen")
    make_keys(settings)
    files = {path.name: path for path in plain.iterdir()}
    seal(settings, engine="transformers", version=1, files=files)
    return settings


def settings_of(asked: Asked) -> TransformersSettings:
    """How the engine is run: answers are as long as what people say."""
    guards = GuardSettings(tokens_per_s=TOKENS_PER_S, spare_tokens=0, most_tokens=300)
    rows = max(*asked.batches, 64)
    return TransformersSettings(device=asked.device, most_rows=rows, guards=guards)


def opened_files(settings: Settings, how: TransformersSettings) -> Mapping[str, Content]:
    """As the server does it, without the trail."""
    places = WeightPlaces(how)
    with pack_trust(settings) as trust:
        pack = open_pack(
            settings.pack_folder, trust, prepare=lambda card: places.places(card.sizes)
        )
    return places.files(pack.files)


def engine_on(files: Mapping[str, Content], how: TransformersSettings) -> TransformersQwen3:
    """The weights are not copied."""
    engine = open_engine("qwen", files, how)
    assert isinstance(engine, TransformersQwen3)
    return engine


def open_plain(plain: Path, device: str) -> transformers.Qwen3ASRForConditionalGeneration:
    """As transformers' documentation does it."""
    model = transformers.Qwen3ASRForConditionalGeneration.from_pretrained(
        plain, dtype=torch.bfloat16
    ).to(device)
    if device == "cuda":
        torch.cuda.synchronize()
    return model.eval()


def timed(work: Callable[[], object]) -> float:
    """Seconds; what `work` gives is dropped outside of them."""
    started_s = time.perf_counter()
    kept = work()
    took_s = time.perf_counter() - started_s
    del kept
    return took_s


def utterances(n: int, length_s: float, *, is_final: bool, seed: int) -> list[Utterance]:
    """Noise, each another; captions go on from what was said half a second ago."""
    noise = np.random.default_rng(seed)
    before = None
    if not is_final:
        n_known = max(0, int((length_s - 0.5) * TOKENS_PER_S))
        before = Hypothesis("fox" * n_known, language="en")
    return [
        Utterance(
            noise.normal(0, 0.1, int(length_s * 16_000)).astype(np.float32),
            is_final,
            language="en",
            before=before,
        )
        for _ in range(n)
    ]


def batch_times_s(
    engine: TransformersQwen3, n: int, length_s: float, *, is_final: bool, runs: int
) -> list[float]:
    """Of so many batches, after one that is not counted."""
    batches = [utterances(n, length_s, is_final=is_final, seed=seed) for seed in range(runs + 1)]
    times_s = [timed(lambda batch=batch: engine.transcribe(batch)) for batch in batches]  # type: ignore[misc]
    return times_s[1:]


def generate_times_s(
    model: transformers.Qwen3ASRForConditionalGeneration, n: int, runs: int
) -> list[float]:
    """The same by transformers' own `generate`."""
    processor = qwen3_asr_processor()
    n_tokens = int(SEGMENT_S * TOKENS_PER_S)
    times_s = []
    for seed in range(runs + 1):
        clips = [each.samples for each in utterances(n, SEGMENT_S, is_final=True, seed=seed)]

        def recognise(clips: list[np.ndarray] = clips) -> object:
            inputs = processor.apply_transcription_request(clips, language="en")
            # the small tokenizer's mark for audio is another than the full model's
            ids = inputs["input_ids"]
            ids[ids == processor.audio_token_id] = model.config.audio_token_id
            inputs = inputs.to(model.device, model.dtype)
            found = model.generate(
                **inputs, max_new_tokens=n_tokens, min_new_tokens=n_tokens, do_sample=False
            )
            return found.cpu()

        times_s.append(timed(recognise))
    return times_s[1:]


def measure_loading(asked: Asked, settings: Settings, plain: Path) -> dict[str, float]:
    """From either form to a model on the device, in turns."""
    how = replace(settings_of(asked), most_rows=1)
    pack_s, plain_s = [], []
    for _ in range(asked.runs):
        pack_s.append(timed(lambda: engine_on(opened_files(settings, how), how)))
        plain_s.append(timed(lambda: open_plain(plain, asked.device)))
    return {"pack_s": round(min(pack_s), 3), "plain_s": round(min(plain_s), 3)}


def measure_batches(asked: Asked, engine: TransformersQwen3) -> dict[str, float]:
    """Finals of 5 s, and captions."""
    figures: dict[str, float] = {}
    for n in asked.batches:
        finals_s = batch_times_s(engine, n, SEGMENT_S, is_final=True, runs=asked.runs)
        captions_s = batch_times_s(engine, n, SEGMENT_S, is_final=False, runs=asked.runs)
        figures |= {
            f"audio_s_per_s_{n}": round(n * SEGMENT_S / statistics.mean(finals_s), 1),
            f"p50_ms_{n}": round(1000 * statistics.median(finals_s), 1),
            f"p95_ms_{n}": round(1000 * float(np.percentile(finals_s, 95)), 1),
            f"caption_ms_{n}": round(1000 * statistics.median(captions_s), 1),
        }
        print(f"{n:4} at a time: " + ", ".join(f"{k} {v}" for k, v in list(figures.items())[-4:]))
    return figures


def measure_first_tokens(asked: Asked, engine: TransformersQwen3) -> dict[str, float]:
    """Until each of a batch has its first token: the engine gives no more."""
    figures = {}
    for n in asked.batches:
        batches = [utterances(n, SEGMENT_S, is_final=True, seed=s) for s in range(asked.runs + 1)]
        times_s = [timed(lambda batch=batch: engine.transcribe(batch)) for batch in batches]  # type: ignore[misc]
        figures[f"first_token_ms_{n}"] = round(1000 * statistics.median(times_s[1:]), 1)
    return figures


def measure_streams(asked: Asked, engine: TransformersQwen3) -> dict[str, object]:
    """The table of times, and what the scheduler makes of it."""
    runs = min(asked.runs, 3)
    tables = {
        kind: {
            length_s: {
                n: statistics.median(
                    batch_times_s(engine, n, length_s, is_final=kind == "finals", runs=runs)
                )
                for n in asked.batches
            }
            for length_s in LENGTHS_S
        }
        for kind in ("finals", "partials")
    }
    times = StepTimes(**tables)
    most = max(asked.batches)
    n_streams = most_streams(times, most)
    p95_s = simulate(times, max(n_streams, 1), most).p95_s()
    return {"streams": n_streams, "streams_p95_ms": round(1000 * p95_s, 1), "times_s": tables}


def bench(asked: Asked, *, is_kept: bool) -> None:
    """All of it, in a new folder."""
    if asked.folder.exists():
        raise SystemExit(f"bench: {asked.folder} exists: move it away")
    asked.folder.mkdir(parents=True, mode=0o700)
    try:
        figures = measure(asked)
    finally:
        shutil.rmtree(asked.folder)
    write_figures("gpu", figures)
    if is_kept:
        write_figures(f"gpu-{asked.size}-{asked.device}-{head_commit()}", figures, KEPT_FOLDER)


def measure(asked: Asked) -> dict[str, object]:
    """Everything, with a line for each part."""
    transformers.utils.logging.disable_progress_bar()
    plain = write_checkpoint(asked.size, asked.folder / "plain")
    settings = sealed(asked, plain)
    figures: dict[str, object] = {"size": asked.size, "device": device_name(asked.device)}
    figures |= measure_loading(asked, settings, plain)
    print(f"opened in {figures['pack_s']} s, by transformers in {figures['plain_s']} s")
    model = open_plain(plain, asked.device)
    for n in asked.batches:
        times_s = generate_times_s(model, n, min(asked.runs, 3))
        figures[f"hf_audio_s_per_s_{n}"] = round(n * SEGMENT_S / statistics.mean(times_s), 1)
        print(f"{n:4} at a time by transformers: {figures[f'hf_audio_s_per_s_{n}']} audio-s/s")
    del model
    how = settings_of(asked)
    files = opened_files(settings, how)
    engine = engine_on(files, how)
    figures |= measure_batches(asked, engine)
    one_token = replace(how, guards=replace(how.guards, tokens_per_s=0.0, spare_tokens=1))
    figures |= measure_first_tokens(asked, engine_on(files, one_token))
    figures |= measure_streams(asked, engine)
    print(f"{figures['streams']} streams, p95 {figures['streams_p95_ms']} ms")
    return figures | {"peak_gib": round(peak_bytes(asked.device) / 2**30, 2)}


def peak_bytes(device: str) -> int:
    """Of the device's memory so far."""
    if device == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def device_name(device: str) -> str:
    """As its maker calls it."""
    return torch.cuda.get_device_name() if device == "cuda" else machine_description()


def main() -> None:
    """Run the bench."""
    has_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="1.7B")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32, 64, 128])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=Path("build/bench/gpu"), help="new")
    parser.add_argument("--keep", action="store_true", help="the figures, in docs/bench/")
    given = parser.parse_args()
    if given.device == "cuda" and not has_gpu:
        raise SystemExit("bench: no GPU here; --device cpu --batches 1 8 takes long, but works")
    asked = Asked(given.size, given.device, given.batches, given.runs, given.folder)
    bench(asked, is_kept=given.keep)


if __name__ == "__main__":
    main()
