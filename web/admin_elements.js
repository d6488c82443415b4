/**
 * Names, attributes and texts in, elements out: the only place where this page makes any.
 *
 * Every string becomes a text node or an attribute from a short list, never markup: what a stranger
 * wrote into the trail (subject, origin, browser) can be read here and do nothing.
 */

const SVG = "http://www.w3.org/2000/svg";
const FORBIDDEN = /^(?:on|style$|src|srcdoc|formaction|action)/i;

/**
 * An element with attributes (null and false leave one out, true sets it empty), `on: {click}`
 * listeners, and children: nodes, or strings as text.
 */
export function make(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function draw(tag, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, tag), attributes, children);
}

/** A stranger's string, whose direction of writing stays its own. */
export function foreign(text, attributes = {}) {
  return make("bdi", attributes, text ?? "");
}

/** A link to another place of this page. */
export function linkTo(place, attributes, ...children) {
  return make("a", { ...attributes, href: place }, ...children);
}

/** New children; the focus stays on the element with the same `data-key`, if there still is one. */
export function refill(element, ...children) {
  const key = element.contains(document.activeElement)
    ? document.activeElement.dataset.key : undefined;
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null));
  if (key === undefined) return;
  const kept = [...element.querySelectorAll("[data-key]")].find((each) => each.dataset.key === key);
  kept?.focus({ preventScroll: true });
}

/** A picture of few lines, of no meaning to those who hear the page. */
export function icon(name) {
  const svg = draw("svg", { class: `icon icon-${name}`, viewBox: "0 0 16 16", "aria-hidden": "true" });
  for (const path of ICONS[name]) svg.append(draw("path", { d: path }));
  return svg;
}

const ICONS = Object.freeze({
  good: ["M3 8.5l3.2 3.2L13 4.8"],
  warning: ["M8 2.2L14.6 13.6H1.4z", "M8 6.4v3.4M8 11.7v.1"],
  bad: ["M5.2 1.5h5.6l3.7 3.7v5.6l-3.7 3.7H5.2l-3.7-3.7V5.2z", "M8 4.6v4M8 11v.1"],
  unknown: ["M8 3v7M8 12.6v.1"],
  pause: ["M5.5 3.5v9M10.5 3.5v9"],
  play: ["M5 3.2v9.6L12.6 8z"],
  down: ["M8 2.5v8M4.6 7.4L8 10.8l3.4-3.4M3 13.5h10"],
  shield: ["M8 1.5l5.5 2v4.2c0 3.4-2.3 5.7-5.5 6.8-3.2-1.1-5.5-3.4-5.5-6.8V3.5z"],
  ear: ["M5 6.2a3.1 3.1 0 1 1 6.2 0c0 2.6-2.4 2.9-2.6 5.1-.2 1.7-1.2 2.5-2.3 2.5-1 0-1.7-.6-1.9-1.5"],
});

function dress(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [kind, listener] of Object.entries(value)) element.addEventListener(kind, listener);
    } else if (FORBIDDEN.test(name)) {
      throw new TypeError(`not set from here: ${name}`);
    } else if (name === "href" && !String(value).startsWith("#")) {
      throw new TypeError("links lead to places of this page");
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}
