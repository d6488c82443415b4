/**
 * Made, and the screen stays on; released, and it may go dark. A browser that cannot is no fault.
 *
 * A browser takes the lock away from a page that is hidden; here it is asked for again.
 */

export class ScreenLock {
  #isWanted = true;
  /** @type {WakeLockSentinel | null} */
  #lock = null;

  constructor() {
    document.addEventListener("visibilitychange", this.#ask);
    this.#ask();
  }

  release() {
    this.#isWanted = false;
    document.removeEventListener("visibilitychange", this.#ask);
    this.#lock?.release().catch(() => {});
  }

  #ask = async () => {
    if (document.visibilityState !== "visible") return;
    try {
      this.#lock = await navigator.wakeLock?.request("screen");
    } catch {
      this.#lock = null; // a battery that is low, a policy
    }
    if (!this.#isWanted) this.release();
  };
}
