/**
 * Samples of one channel in, blocks of PCM16 little-endian out, each with its place and loudness.
 *
 * Runs on the audio thread, which calls with as many samples as it likes, mostly 128. Posts {block,
 * at, level}: the block's ArrayBuffer, handed over without a copy; how many samples came before it;
 * its root mean square, 0 to 1. Told "flush", it posts the last, shorter block and then
 * {isFlushed: true}, and hears no more. Nothing but the blocks is made anew while it runs.
 */

const SAMPLE_BYTES = 2;

class Capture extends AudioWorkletProcessor {
  #blockSamples;
  #view;
  /** In this block; and in all before it. */
  #samples = 0;
  #at = 0;
  #energy = 0;
  #isOver = false;

  constructor(options) {
    super();
    this.#blockSamples = options.processorOptions.blockSamples;
    this.#begin();
    this.port.onmessage = () => this.#flush();
  }

  process([[channel]]) {
    if (this.#isOver) return false;
    // A microphone that has not begun has no channels.
    const samples = channel?.length ?? 0;
    for (let at = 0; at < samples; at += 1) this.#write(channel[at]);
    return true;
  }

  #write(sample) {
    const clipped = Math.max(-1, Math.min(1, sample));
    const value = Math.round(clipped * 32767);
    this.#view.setInt16(this.#samples * SAMPLE_BYTES, value, true);
    this.#energy += clipped * clipped;
    this.#samples += 1;
    if (this.#samples === this.#blockSamples) this.#post();
  }

  #post() {
    const isWhole = this.#samples === this.#blockSamples;
    const whole = this.#view.buffer;
    const block = isWhole ? whole : whole.slice(0, this.#samples * SAMPLE_BYTES);
    const level = Math.sqrt(this.#energy / this.#samples);
    this.port.postMessage({ block, at: this.#at, level }, [block]);
    this.#at += this.#samples;
    this.#begin();
  }

  #begin() {
    this.#view = new DataView(new ArrayBuffer(this.#blockSamples * SAMPLE_BYTES));
    this.#samples = 0;
    this.#energy = 0;
  }

  #flush() {
    if (this.#samples > 0) this.#post();
    this.#isOver = true;
    this.port.postMessage({ isFlushed: true });
  }
}

registerProcessor("capture", Capture);
