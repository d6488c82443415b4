"""Recordings in, the word errors of the microphone page beside those of the Python client out:
`python -m bench.page_wer`.

English recordings in a row, a second apart, are what headless Chromium's microphone hears, once.
The page speaks to a real server with its default settings, without what the browser does to sound
and, in a second session at the same time, with it; the Python client brings the same file. Errors
are counted over the whole row: an utterance more or less where a silence is cut is not the page's
doing. Figures go to build/bench/page_wer.json.
"""

import argparse
import io
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from bench.recordings import Recording, open_recordings
from bench.scoring import Score, score, write_figures
from bench.sound import RATE_HZ, load_samples
from bench.stream import seal_model, server_process, tokens
from client.stream import transcribe_file_blocking
from server.config import load_settings

CHROMIUM = Path("/usr/bin/chromium")
KINDS = ("utterance", "long", "telephone", "spontaneous")
LEAD_S, GAP_S, TAIL_S = 5.0, 1.0, 3.0
"""Silence: until the page hears, between recordings, and until the last word is settled."""
PROCESSED = ("echoCancellation", "noiseSuppression", "autoGainControl")
WISHES = """(isOn) => {
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = ({ audio }) => {
    for (const name of NAMES) audio[name] = isOn;
    return ask({ audio });
  };
}""".replace("NAMES", str(list(PROCESSED)))
LIMIT_MS = 600_000
POLLED_MS = 500


@dataclass(frozen=True, slots=True)
class Row:
    """Recordings, one after the other."""

    text: str
    samples: np.ndarray
    """(n_samples,) float32, 16 kHz mono."""
    n_recordings: int

    @property
    def length_s(self) -> float:
        """With the silences."""
        return self.samples.size / RATE_HZ


def row_of(recordings: list[Recording]) -> Row:
    """All of them."""
    pieces = [np.zeros(int(LEAD_S * RATE_HZ), np.float32)]
    for recording in recordings:
        pieces += [load_samples(recording.path), np.zeros(int(GAP_S * RATE_HZ), np.float32)]
    pieces.append(np.zeros(int(TAIL_S * RATE_HZ), np.float32))
    text = " ".join(recording.text for recording in recordings)
    return Row(text, np.concatenate(pieces), len(recordings))


def wav_of(row: Row) -> bytes:
    """A WAV file of it."""
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(RATE_HZ)
        written.writeframes((np.clip(row.samples, -1, 1) * 32767).astype("<i2").tobytes())
    return file.getvalue()


@contextmanager
def hearing(wav: Path) -> Iterator[Browser]:
    """A browser whose microphone is this file, once from each opening on."""
    args = [
        *("--no-sandbox", "--disable-gpu", "--no-first-run", "--use-fake-ui-for-media-stream"),
        *("--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={wav}%noloop"),
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=args)
        yield browser
        browser.close()


def begin(browser: Browser, address: str, token: str, *, is_processed: bool) -> Page:
    """The page, listening."""
    page = browser.new_context().new_page()
    page.add_init_script(f"({WISHES})({str(is_processed).lower()})")
    page.goto(f"{address}#token={token}")
    page.locator("#toggle").click()
    page.locator('body[data-state="listening"]').wait_for(timeout=LIMIT_MS)
    return page


def heard_s(page: Page) -> int:
    """By the page's own count."""
    minutes, seconds = page.locator("#elapsed").inner_text().split(":")
    return int(minutes) * 60 + int(seconds)


def text_of(page: Page, length_s: float) -> str:
    """What stands there once it has heard all."""
    while heard_s(page) < length_s:
        page.wait_for_timeout(POLLED_MS)
    page.locator("#toggle").click()
    page.locator('body[data-state="stopped"]').wait_for(timeout=LIMIT_MS)
    problem = page.locator("#problem").inner_text()
    if problem:
        raise SystemExit(f"bench: the page says: {problem}")
    return " ".join(page.locator('#captions [data-final="true"]').all_inner_texts())


def texts_of_pages(wav: Path, row: Row, address: str, token: str) -> tuple[str, str]:
    """Of the page that leaves the sound alone, and of the one that does not."""
    with hearing(wav) as browser:
        pages = [begin(browser, address, token, is_processed=on) for on in (False, True)]
        raw, processed = (text_of(page, row.length_s) for page in pages)
        return raw, processed


def figures_of(row: Row, client: Score, raw: Score, processed: Score) -> dict[str, object]:
    """Rates, and how far apart they are."""
    return {
        "recordings": row.n_recordings,
        "row_s": round(row.length_s, 1),
        "words": raw.words,
        "wer_client": round(client.wer, 4),
        "wer_page": round(raw.wer, 4),
        "wer_page_processed": round(processed.wer, 4),
        "points_apart": round((raw.wer - client.wer) * 100, 2),
        "points_apart_processed": round((processed.wer - client.wer) * 100, 2),
    }


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the recordings")
    parser.add_argument("--data-folder", type=Path, default=Path("build/bench-data"))
    arguments = parser.parse_args()
    settings = load_settings(data_folder=arguments.data_folder)
    seal_model(settings)
    english = [r for r in open_recordings() if r.language == "en" and r.kind in KINDS]
    n_taken = max(1, round(len(english) * arguments.share))
    row = row_of([english[len(english) * n // n_taken] for n in range(n_taken)])
    wav = Path("build/bench/page_wer.wav").resolve()
    wav.parent.mkdir(parents=True, exist_ok=True)
    wav.write_bytes(wav_of(row))
    heard: list[str] = []
    with server_process(settings) as (url, _):
        new_token = tokens(settings, lifetime_s=3600)

        def bring() -> None:
            heard.append(transcribe_file_blocking(url, new_token(), wav, pace="real_time").text)

        client = threading.Thread(target=bring)
        client.start()
        address = url.replace("ws", "http", 1).removesuffix("v1/stream")
        raw, processed = texts_of_pages(wav, row, address, new_token())
        client.join()
    wav.unlink()
    scores = (score(row.text, text) for text in (heard[0], raw, processed))
    figures = figures_of(row, *scores)
    write_figures("page_wer", figures)
    for name, value in figures.items():
        print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
