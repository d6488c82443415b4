/**
 * The page in; the same page with every word in the chosen language out.
 *
 * Elements name their text: `data-text` is what they hold, `data-label` what they are called where
 * they hold none, `data-title` what is said of them to who points at them.
 */

import { texts } from "./texts.js";

/** @param {Document} page */
export function say(page) {
  page.documentElement.lang = texts.language;
  page.title = texts.title;
  const each = (attribute, write) => {
    for (const element of page.querySelectorAll(`[data-${attribute}]`)) {
      write(element, element.dataset[attribute]);
    }
  };
  const hold = (group) => (element, key) => (element.textContent = group[key]);
  each("text", hold(texts));
  each("format", hold(texts.formats));
  each("does", hold(texts.keys));
  each("key", hold(texts.keyNames));
  each("label", (element, key) => {
    element.setAttribute("aria-label", texts[key]);
    element.title = texts[key];
  });
  each("title", (element, key) => (element.title = texts[key]));
  each("language", (element, name) => {
    element.dataset.chosen = String(texts.language.startsWith(name));
  });
  page.getElementById("formats").setAttribute("aria-label", texts.download);
  page.getElementById("privacy").textContent = texts.privacy(location.hostname);
}
