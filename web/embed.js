/**
 * The address in; captions alone, for a screen share or a broadcast's browser source, out.
 *
 * `?embed=1` stands on whatever is behind the page, each line on a dark band; `?embed=dark` fills
 * the page. There are no controls: a click anywhere, or Space, starts and stops.
 */

const MODES = Object.freeze({ 1: "clear", dark: "dark" });
const LINES = 3;

/**
 * @param {Record<string, HTMLElement>} on the page's elements by id
 * @param {() => void} toggle
 * @returns {{isOn: boolean, mostLines: number}}
 */
export function embedding(on, toggle) {
  const mode = MODES[new URLSearchParams(location.search).get("embed")];
  if (mode === undefined) return { isOn: false, mostLines: Infinity };
  document.documentElement.dataset.embed = mode;
  document.addEventListener("click", ({ target }) => {
    if (!on["token-form"].contains(target)) toggle();
  });
  return { isOn: true, mostLines: LINES };
}
