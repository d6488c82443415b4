/**
 * Values over time in, a chart out: columns, or a line with the area below it.
 *
 * One cursor, moved by pointer or arrow keys, names the value under it in the caption above; Enter
 * or a click opens the events of that stretch. For those who do not see it the same values stand in
 * a table. Drawn in pixels of its own width and again when that changes, so that text keeps its
 * size.
 */

import { draw, make, refill } from "./admin_elements.js";
import { stretch, tick } from "./admin_format.js";
import { texts } from "./admin_texts.js";

const HEIGHT = 132;
const BASE = HEIGHT - 20;
const TOP = 14;
const TICK_WIDTH = 84;
const GAP = 2;
const GUTTER = 50;

/**
 * @typedef {object} Bucket
 * @property {number} at_ms
 * @property {number} value
 */

export class Trend {
  /** @type {Bucket[]} */
  #buckets = [];
  #lengthMs = 0;
  #cursor = null;
  #width = 0;
  #columns = [];

  /** `kind`: columns or area; `unit`: what the scale counts in; `tell(value)` words a value;
   * `onPick(fromMs, untilMs)`.
   */
  constructor({ name, kind, tone, unit, tell, onPick }) {
    Object.assign(this, { name, kind, unit, tell, onPick });
    this.caption = make("p", { class: "caption" });
    this.svg = draw("svg", { class: `trend tone-${tone}`, height: HEIGHT, "aria-hidden": "true" });
    this.plot = make("div", {
      class: "plot", tabindex: 0, role: "group", "aria-label": `${name}. ${texts.chartHelp}`,
      on: {
        pointermove: (event) => this.#point(event.offsetX),
        pointerleave: () => this.#put(null),
        click: (event) => {
          this.#point(event.offsetX);
          this.#pick();
        },
        keydown: (event) => this.#press(event),
        blur: () => this.#put(null),
      },
    }, this.svg);
    this.spoken = make("span", { class: "unseen", role: "status" });
    this.rows = make("tbody");
    this.element = make("div", { class: "trend-box" }, this.caption, this.plot, this.spoken,
      make("details", { class: "as-table" }, make("summary", {}, texts.table),
        make("div", { class: "scrolled", tabindex: 0, role: "region", "aria-label": name },
          make("table", {}, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, texts.time),
            make("th", { scope: "col", class: "number" }, name))), this.rows))));
    new ResizeObserver(() => this.#resize()).observe(this.plot);
  }

  /** @param {Bucket[]} buckets @param {string} rest what the caption says while nothing is pointed at */
  update(buckets, lengthMs, rest) {
    this.#buckets = buckets;
    this.#lengthMs = lengthMs;
    this.rest = rest;
    if (this.#cursor !== null && this.#cursor >= buckets.length) this.#cursor = null;
    refill(this.rows, buckets.map((bucket) => make("tr", {},
      make("th", { scope: "row" }, stretch(bucket.at_ms, lengthMs)),
      make("td", { class: "number" }, this.tell(bucket.value)))));
    this.#draw();
    this.#put(this.#cursor);
  }

  /** Another text for while nothing is pointed at. */
  compare(rest) {
    this.rest = rest;
    this.#put(this.#cursor);
  }

  #resize() {
    const width = Math.floor(this.plot.clientWidth);
    if (width === this.#width || width === 0) return;
    this.#width = width;
    this.#draw();
  }

  #draw() {
    if (this.#width === 0) this.#width = Math.floor(this.plot.clientWidth);
    const width = this.#width;
    if (width === 0 || this.#buckets.length === 0) return;
    this.svg.setAttribute("width", width);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const greatest = Math.max(...this.#buckets.map((bucket) => bucket.value));
    const top = roundedUp(greatest / this.unit) * this.unit;
    const y = (value) => BASE - (value / top) * (BASE - TOP);
    const parts = this.#grid(width, top, y, greatest);
    parts.push(...(this.kind === "area" ? this.#area(width, y) : this.#bars(width, y)));
    this.svg.replaceChildren(...parts);
    this.#mark();
  }

  #grid(width, top, y, greatest) {
    const parts = [];
    const right = GUTTER - 8;
    for (const value of greatest > 0 ? [top, top / 2] : []) {
      const at = { x: right, y: y(value) + 4, "text-anchor": "end" };
      parts.push(draw("line", { class: "grid", x1: GUTTER, x2: width, y1: y(value), y2: y(value) }));
      parts.push(draw("text", { class: "scale", ...at }, this.tell(value)));
    }
    parts.push(draw("line", { class: "base", x1: GUTTER, x2: width, y1: BASE + 0.5, y2: BASE + 0.5 }));
    const step = this.#step(width);
    const every = Math.max(1, Math.ceil(TICK_WIDTH / step));
    for (let index = 0; index < this.#buckets.length; index += every) {
      if (GUTTER + index * step > width - TICK_WIDTH / 2) break;
      const label = tick(this.#buckets[index].at_ms, this.#lengthMs);
      parts.push(draw("text", { class: "tick", x: GUTTER + index * step, y: HEIGHT - 4 }, label));
    }
    if (greatest === 0) {
      const at = { class: "empty", x: (GUTTER + width) / 2, y: (TOP + BASE) / 2, "text-anchor": "middle" };
      parts.push(draw("text", at, texts.noValues));
    }
    return parts;
  }

  #bars(width, y) {
    const step = this.#step(width);
    this.#columns = this.#buckets.map((bucket, index) => {
      const top = bucket.value > 0 ? Math.min(y(bucket.value), BASE - 2) : BASE;
      return draw("rect", {
        class: "column", x: GUTTER + index * step + GAP / 2, width: Math.max(1, step - GAP),
        y: top, height: BASE - top, rx: Math.min(2, step / 4),
      });
    });
    return this.#columns;
  }

  #area(width, y) {
    const step = this.#step(width);
    const points = this.#buckets.map((bucket, index) => [GUTTER + (index + 0.5) * step, y(bucket.value)]);
    const line = points.map(([x, height]) => `${x.toFixed(1)},${height.toFixed(1)}`).join(" L");
    const [first, last] = [points[0][0], points.at(-1)[0]];
    this.#columns = points.map(([x, height]) =>
      draw("circle", { class: "point", cx: x, cy: height, r: 3.5 }));
    return [
      draw("path", { class: "area", d: `M${first},${BASE} L${line} L${last},${BASE} Z` }),
      draw("path", { class: "line", d: `M${line}` }),
      ...this.#columns,
    ];
  }

  #step(width) {
    return (width - GUTTER) / this.#buckets.length;
  }

  #point(x) {
    const index = Math.floor((x - GUTTER) / this.#step(this.#width));
    this.#put(Math.max(0, Math.min(this.#buckets.length - 1, index)));
  }

  #put(index) {
    this.#cursor = this.#buckets.length === 0 ? null : index;
    this.#mark();
    this.caption.textContent = this.#cursor === null ? this.rest : this.#told();
    this.caption.classList.toggle("pointed", this.#cursor !== null);
  }

  #mark() {
    this.svg.classList.toggle("pointed", this.#cursor !== null);
    for (const [index, column] of this.#columns.entries()) {
      column.classList.toggle("here", index === this.#cursor);
    }
  }

  #told() {
    const bucket = this.#buckets[this.#cursor];
    return `${stretch(bucket.at_ms, this.#lengthMs)}: ${this.tell(bucket.value)}`;
  }

  #press(event) {
    const last = this.#buckets.length - 1;
    const here = this.#cursor;
    const next = {
      ArrowLeft: here === null ? last : Math.max(0, here - 1),
      ArrowRight: here === null ? last : Math.min(last, here + 1),
      Home: 0,
      End: last,
    }[event.key];
    if (next !== undefined && last >= 0) {
      event.preventDefault();
      this.#put(next);
      this.spoken.textContent = this.#told();
    } else if (event.key === "Enter") {
      this.#pick();
    } else if (event.key === "Escape") {
      this.#put(null);
    }
  }

  #pick() {
    if (this.#cursor === null) return;
    const { at_ms: atMs } = this.#buckets[this.#cursor];
    this.onPick(atMs, atMs + this.#lengthMs);
  }
}

/** The next of 1, 2, 4, 5, 10, 20, … : its half is a round number too. */
function roundedUp(value) {
  if (value <= 0) return 1;
  const size = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 6, 8, 10].map((each) => each * size).find((each) => each >= value);
}
