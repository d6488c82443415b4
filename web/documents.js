/**
 * What was said in; the content of a file in one of four formats out.
 *
 * The same content as client/documents.py gives, so that a page and a terminal agree: `txt` a line
 * each segment, `srt` and `vtt` subtitles, `json` one object of text, segments and words.
 */

import { clean } from "./cells.js";
import { cuesOf, encodeSrt, encodeVtt } from "./subtitles.js";

/** Scripts whose words have no space between them: Thai to Khmer, CJK, full-width forms. */
const UNSPACED =
  /[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uf900-\ufaff\uff00-\uffef\u{20000}-\u{3ffff}]/u;
const CLOSING = /^(?![#&@*])[\p{Po}\p{Pe}\p{Pf}]/u;

const ENCODERS = Object.freeze({
  txt: (segments) => segments.map((segment) => `${clean(textOf(segment))}\n`).join(""),
  srt: (segments) => encodeSrt(cuesOf(segments)),
  vtt: (segments) => encodeVtt(cuesOf(segments)),
  json: (segments) => `${JSON.stringify(objectOf(segments), null, 2)}\n`,
});

export const MEDIA_TYPES = Object.freeze({
  txt: "text/plain",
  srt: "application/x-subrip",
  vtt: "text/vtt",
  json: "application/json",
});

/**
 * The content of a file, with the end of its last line. Segments without words are left out.
 *
 * @param {"txt" | "srt" | "vtt" | "json"} kind
 * @param {import("./transcript.js").Segment[]} segments in order
 */
export function encodeDocument(kind, segments) {
  return ENCODERS[kind](segments.filter((segment) => clean(textOf(segment)) !== ""));
}

/** Two texts after each other, with one space between them where their script wants one. */
export function joinText(left, right) {
  if (left === "" || right === "" || /\s$/u.test(left) || /^\s/u.test(right)) return left + right;
  const isUnspaced = UNSPACED.test([...left].at(-1)) || UNSPACED.test([...right][0]);
  return isUnspaced || CLOSING.test(right) ? left + right : `${left} ${right}`;
}

function textOf(segment) {
  return segment.stable + segment.unstable;
}

function objectOf(segments) {
  return {
    text: segments.map((segment) => textOf(segment).trim()).reduce(joinText, ""),
    segments: segments.map((segment) => ({
      start_ms: segment.startMs,
      end_ms: segment.endMs,
      text: textOf(segment).trim(),
      confidence: segment.confidence,
      words: segment.words,
      ...(segment.language === null ? {} : { language: segment.language }),
    })),
  };
}
