/**
 * An open popover and a place on the page in; the popover above that place out, or below it where
 * there is no room, and never over the edge of the window.
 */

const GAP_PX = 8;

/**
 * @param {HTMLElement} popover already shown
 * @param {DOMRect} place
 * @param {"middle" | "end"} side of the place, that the popover is lined up with
 */
export function placeBeside(popover, place, side = "middle") {
  const { width, height } = popover.getBoundingClientRect();
  const mostLeft = document.documentElement.clientWidth - width - GAP_PX;
  const wished = side === "end" ? place.right - width : (place.left + place.right - width) / 2;
  const left = Math.max(GAP_PX, Math.min(wished, mostLeft));
  const above = place.top - height - GAP_PX;
  const top = above >= GAP_PX ? above : place.bottom + GAP_PX;
  popover.style.left = `${Math.round(left)}px`;
  popover.style.top = `${Math.round(top)}px`;
}
