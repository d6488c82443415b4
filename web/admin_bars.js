/**
 * Names and numbers in, lists with a bar each out; and how soon something comes, on one scale.
 */

import { draw, foreign, linkTo, make, refill } from "./admin_elements.js";
import { duration } from "./admin_format.js";
import { texts } from "./admin_texts.js";

const NARROWEST = 0.6;

/**
 * @typedef {object} Bar
 * @property {string} name a stranger may have chosen it
 * @property {number} value
 * @property {number | null} [most] what would be full; without it bars compare with each other
 * @property {string} told
 * @property {string} [place] where it leads to
 */

/** Puts bars into a list, the greatest first as they come. @param {Bar[]} bars */
export function showBars(list, bars, { tone, empty }) {
  const greatest = Math.max(1, ...bars.map((bar) => bar.value));
  refill(list, bars.length === 0 ? make("li", { class: "nothing" }, empty) : bars.map((bar) => {
    const share = Math.min(1, bar.value / (bar.most || greatest));
    const isNear = Boolean(bar.most) && share >= 0.9;
    const name = bar.place
      ? linkTo(bar.place, { "data-key": `bar ${bar.name}` }, foreign(bar.name))
      : foreign(bar.name);
    return make("li", { class: `bar tone-${isNear ? "wrong" : tone}` },
      make("span", { class: "bar-name" }, name),
      make("span", { class: "bar-value" }, bar.told),
      draw("svg", { class: "bar-track", width: "100%", height: 6, "aria-hidden": "true" },
        draw("rect", { class: bar.most ? "track" : "no-track", width: "100%", height: 6, rx: 3 }),
        draw("rect", {
          class: "fill", height: 6, rx: 3,
          width: `${bar.value > 0 ? Math.max(NARROWEST, share * 100).toFixed(2) : 0}%`,
        })));
  }));
}

/** A row for each kind of wait: where half, 95 and 99 of 100 lie, on a scale of powers of ten. */
export function showLatencies(body, latencies) {
  const all = latencies.flatMap((each) => [each.p50_ms, each.p99_ms]).filter((value) => value > 0);
  const low = Math.floor(Math.log10(Math.min(...all, 10)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...all, 10))));
  const at = (value) => `${((100 * (Math.log10(Math.max(value, 10 ** low)) - low)) / (high - low)).toFixed(2)}%`;
  refill(body, latencies.map((each) => make("tr", {},
    make("th", { scope: "row" }, texts.latencyNames[each.name] ?? each.name),
    make("td", { class: "range-cell" },
      draw("svg", { class: "range", width: "100%", height: 14, "aria-hidden": "true" },
        draw("line", { class: "track", x1: "0", x2: "100%", y1: 7, y2: 7 }),
        draw("line", { class: "spread", x1: at(each.p50_ms), x2: at(each.p95_ms), y1: 7, y2: 7 }),
        draw("line", { class: "far", x1: at(each.p95_ms), x2: at(each.p99_ms), y1: 7, y2: 7 }),
        draw("circle", { class: "half", cx: at(each.p50_ms), cy: 7, r: 4.5 }))),
    [each.p50_ms, each.p95_ms, each.p99_ms].map((value) =>
      make("td", { class: "number" }, duration(value))))));
}
