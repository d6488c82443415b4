/**
 * A sample rate in, how much there is of the sound that goes over the wire out: PCM16, one channel.
 */

export const SAMPLE_BYTES = 2;

/** @param {number} sampleRateHz */
export function bytesPerMs(sampleRateHz) {
  return (sampleRateHz * SAMPLE_BYTES) / 1000;
}
