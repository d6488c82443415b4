/**
 * Segments with words in; cues as they stand on a screen, and an SRT or WebVTT file, out.
 *
 * The same rules as client/subtitles.py, where they are explained: at most two lines of 42 columns
 * and seven seconds, timed by the words; a cue ends with a sentence or at a pause, and what would
 * flash up stays for a second. A test holds both to the same files.
 */

import { clean, widthCells } from "./cells.js";

const MOST_LINE_CELLS = 42;
const MOST_WORD_CELLS = MOST_LINE_CELLS / 2;
const MOST_CUE_MS = 7_000;
const LEAST_CUE_MS = 1_000;
/** From this long on a cue ends with its sentence. */
const SENTENCE_CUE_MS = 2_000;
/** Between two words; the next begins a cue. */
const PAUSE_MS = 1_500;
const SENTENCE_END = /[.!?…。！？]$/u;
const CLAUSE_END = /[.!?…。！？,;:，；：、]$/u;
/** How much less even two lines may be, to be broken behind punctuation. */
const CLAUSE_BONUS_CELLS = 12;

/**
 * @typedef {{startMs: number, endMs: number, lines: string[]}} Cue
 * @typedef {{text: string, startMs: number, endMs: number}} Piece a word, with the space behind it
 */

/**
 * @param {import("./transcript.js").Segment[]} segments in order
 * @returns {Cue[]} none over another
 */
export function cuesOf(segments) {
  const cues = [];
  for (const segment of segments) {
    for (const pieces of grouped(piecesOf(segment))) {
      const startMs = Math.max(pieces[0].startMs, cues.at(-1)?.endMs ?? 0);
      const spokenMs = Math.max(...pieces.map((piece) => piece.endMs), startMs + 1);
      cues.push({ startMs, endMs: Math.min(spokenMs, startMs + MOST_CUE_MS), lines: broken(pieces) });
    }
  }
  return lasting(cues);
}

/** A SubRip file. What could be taken for the arrow of a cue is replaced: SRT cannot escape. */
export function encodeSrt(cues) {
  return cues
    .map((cue, at) => {
      const times = `${timeOf(cue.startMs, ",")} --> ${timeOf(cue.endMs, ",")}`;
      return `${at + 1}\n${times}\n${cue.lines.join("\n").replaceAll("-->", "->")}\n`;
    })
    .join("\n");
}

/** A WebVTT file. */
export function encodeVtt(cues) {
  const blocks = cues.map((cue) => {
    const times = `${timeOf(cue.startMs, ".")} --> ${timeOf(cue.endMs, ".")}`;
    return `${times}\n${escaped(cue.lines.join("\n"))}\n`;
  });
  return ["WEBVTT\n", ...blocks].join("\n");
}

/**
 * Where each word stands in its segment's text: `[start, end)` up to the next word, so that the
 * parts together are the text. The first begins at 0.
 *
 * @param {string} text
 * @param {{text: string}[]} words
 * @returns {[number, number][]}
 */
export function boundsOf(text, words) {
  const starts = [];
  let at = 0;
  for (const word of words) {
    const found = text.indexOf(word.text, at);
    starts.push(Math.max(found, at));
    at = starts.at(-1) + (found >= 0 ? word.text.length : 0);
  }
  const bounds = [0, ...starts.slice(1), text.length];
  return words.map((_, index) => [bounds[index], bounds[index + 1]]);
}

/** @returns {Piece[]} */
function piecesOf(segment) {
  const text = segment.stable + segment.unstable;
  const timed = boundsOf(text, segment.words).map(([start, end], at) => ({
    text: text.slice(start, end),
    startMs: segment.words[at].start_ms,
    endMs: segment.words[at].end_ms,
  }));
  const whole = { text, startMs: segment.startMs, endMs: segment.endMs };
  return (timed.length > 0 ? timed : [whole]).flatMap(short);
}

/** The same in words of at most half a line, its time shared out by length. */
function short(piece) {
  const texts = [...cut(clean(piece.text))];
  const cells = Math.max(widthCells(texts.join("")), 1);
  const durationMs = piece.endMs - piece.startMs;
  const timeAt = (before) => piece.startMs + Math.floor((durationMs * before) / cells);
  let before = 0;
  return texts.map((text, at) => {
    const after = before + widthCells(text);
    const isBare = at === texts.length - 1 && !/\s$/u.test(piece.text);
    const part = { text: isBare ? text.trimEnd() : text, startMs: timeAt(before), endMs: timeAt(after) };
    before = after;
    return part;
  });
}

function* cut(text) {
  for (const word of text.split(" ").filter((each) => each !== "")) {
    let part = "";
    for (const char of word) {
      if (widthCells(part + char) > MOST_WORD_CELLS) {
        yield part;
        part = "";
      }
      part += char;
    }
    yield `${part} `;
  }
}

/** Whatever stands together in a cue; none is empty. */
function* grouped(pieces) {
  let group = [];
  for (const piece of pieces) {
    if (group.length > 0 && (endsBefore(piece, group) || breaksOf([...group, piece]).length === 0)) {
      yield group;
      group = [];
    }
    group.push(piece);
  }
  if (group.length > 0) yield group;
}

function endsBefore(piece, group) {
  const { startMs } = group[0];
  const { endMs, text } = group.at(-1);
  const isSentence = SENTENCE_END.test(text.trimEnd());
  return (
    piece.endMs - startMs > MOST_CUE_MS
    || piece.startMs - endMs >= PAUSE_MS
    || (isSentence && endMs - startMs >= SENTENCE_CUE_MS)
  );
}

/** Before which pieces a second line could begin; `pieces.length` stands for one line alone. */
function breaksOf(pieces) {
  const fits = [];
  for (let at = 1; at <= pieces.length; at += 1) {
    if (widthCells(lineOf(pieces.slice(0, at))) > MOST_LINE_CELLS) break;
    if (widthCells(lineOf(pieces.slice(at))) <= MOST_LINE_CELLS) fits.push(at);
  }
  return fits;
}

/** One line, or two where they look best. */
function broken(pieces) {
  const fits = breaksOf(pieces);
  if (fits.length === 0 || fits.at(-1) === pieces.length) return [lineOf(pieces)];
  const unevenness = (at) => {
    const first = lineOf(pieces.slice(0, at));
    const unevenCells = Math.abs(widthCells(first) - widthCells(lineOf(pieces.slice(at))));
    return unevenCells - (CLAUSE_END.test(first) ? CLAUSE_BONUS_CELLS : 0);
  };
  const best = fits.reduce((one, other) => (unevenness(other) < unevenness(one) ? other : one));
  return [lineOf(pieces.slice(0, best)), lineOf(pieces.slice(best))];
}

function lineOf(pieces) {
  return pieces.map((piece) => piece.text).join("").trim();
}

/** The same cues, the short ones a little longer. */
function lasting(cues) {
  return cues.map((cue, at) => {
    const limitMs = cues[at + 1]?.startMs ?? cue.startMs + LEAST_CUE_MS;
    return { ...cue, endMs: Math.max(cue.endMs, Math.min(cue.startMs + LEAST_CUE_MS, limitMs)) };
  });
}

function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function timeOf(positionMs, point) {
  const padded = (value, digits = 2) => String(value).padStart(digits, "0");
  const seconds = Math.floor(positionMs / 1000);
  const minutes = Math.floor(seconds / 60);
  const clock = [Math.floor(minutes / 60), minutes % 60, seconds % 60].map((each) => padded(each));
  return `${clock.join(":")}${point}${padded(positionMs % 1000, 3)}`;
}
