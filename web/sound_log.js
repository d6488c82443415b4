/**
 * Blocks of sound in, those that the server may not have yet out, from any byte on.
 *
 * Places are bytes since the session began. What is acknowledged is let go, block by block: memory
 * holds what is on its way and no more. How much that may be is for the stream to say.
 */

/** So many blocks are let go before those that are left are moved together. */
const COMPACTED_BLOCKS = 1_024;

export class SoundLog {
  /** @type {ArrayBuffer[]} */
  #blocks = [];
  /** Of `#blocks`: those before are let go. */
  #first = 0;
  #beginBytes = 0;
  #endBytes = 0;
  #receivedBytes = 0;

  /** What is not acknowledged. */
  get waitingBytes() {
    return this.#endBytes - this.#receivedBytes;
  }

  /** What is acknowledged. */
  get receivedBytes() {
    return this.#receivedBytes;
  }

  /** All that is not. */
  get rest() {
    return this.from(this.#receivedBytes);
  }

  /** @param {ArrayBuffer} block */
  add(block) {
    this.#blocks.push(block);
    this.#endBytes += block.byteLength;
  }

  /** The server has so many bytes since the session began. */
  receive(bytes) {
    this.#receivedBytes = Math.min(this.#endBytes, Math.max(this.#receivedBytes, bytes));
    while (this.#first < this.#blocks.length) {
      const endBytes = this.#beginBytes + this.#blocks[this.#first].byteLength;
      if (endBytes > this.#receivedBytes) break;
      this.#blocks[this.#first] = null;
      this.#first += 1;
      this.#beginBytes = endBytes;
    }
    const isEmpty = this.#first === this.#blocks.length;
    if (isEmpty || this.#first >= COMPACTED_BLOCKS) {
      this.#blocks.splice(0, this.#first);
      this.#first = 0;
    }
  }

  /** Whether all from this byte on is here. */
  has(bytes) {
    return this.#beginBytes <= bytes && bytes <= this.#endBytes;
  }

  /** All from this byte on, which must be here; the first block may be a part of one. */
  *from(bytes) {
    let beginBytes = this.#beginBytes;
    for (const block of this.#blocks.slice(this.#first)) {
      const endBytes = beginBytes + block.byteLength;
      if (endBytes > bytes) yield bytes > beginBytes ? block.slice(bytes - beginBytes) : block;
      beginBytes = endBytes;
    }
  }
}
