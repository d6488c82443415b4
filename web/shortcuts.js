/**
 * Keys in, actions out: Space, C, D, O, S and ?.
 *
 * A key belongs to what has the focus first: fields take every key, buttons take Space. Keys with a
 * modifier are the browser's. While a dialog or a menu is open only its own keys work.
 */

const TAKES_EVERY_KEY = "input, select, textarea, [contenteditable], dialog, [popover]";
const TAKES_SPACE = "button, a, summary, [role=button]";

/**
 * @param {Record<string, () => void>} actions by key: " ", "c", "?"…
 * @param {() => boolean} areOn whether letters are listened to; Space always is
 */
export function listenForKeys(actions, areOn) {
  document.addEventListener("keydown", (event) => {
    const isOthers = event.ctrlKey || event.altKey || event.metaKey || event.repeat || event.isComposing;
    if (isOthers || event.defaultPrevented) return;
    const key = event.key.toLowerCase();
    const { target } = event;
    if (!Object.hasOwn(actions, key) || target.closest(TAKES_EVERY_KEY)) return;
    if (document.querySelector("dialog[open]")) return;
    if (key === " " ? target.closest(TAKES_SPACE) : !areOn()) return;
    event.preventDefault();
    actions[key]();
  });
}
