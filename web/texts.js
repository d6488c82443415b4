/**
 * The choice of language in, every word that the page says out.
 *
 * `texts` is a live binding: after `useLanguage` every module reads the other language. The choice
 * is the address's (`?lang=zh`), then the one made on this page before, then the browser's.
 */

import { texts as en } from "./texts_en.js";
import { texts as zh } from "./texts_zh.js";

const LANGUAGE_KEY = "earwitness.language";
const LANGUAGES = Object.freeze({ en, zh });

export let texts = LANGUAGES[chosenLanguage()];

/** @param {"en" | "zh"} name remembered in this browser */
export function useLanguage(name) {
  texts = LANGUAGES[name];
  try {
    localStorage.setItem(LANGUAGE_KEY, name);
  } catch {
    // without storage it holds until the page is closed
  }
}

/** The name of the other language. */
export function otherLanguage() {
  return texts === zh ? "en" : "zh";
}

function chosenLanguage() {
  const wishes = [new URLSearchParams(location.search).get("lang"), storedLanguage()];
  const known = [...wishes, ...navigator.languages].map((wish) => wish?.slice(0, 2).toLowerCase());
  return known.find((name) => name in LANGUAGES) ?? "en";
}

function storedLanguage() {
  try {
    return localStorage.getItem(LANGUAGE_KEY);
  } catch {
    return null;
  }
}
