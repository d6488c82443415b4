/**
 * Numbers and times in, short words out; all times are UTC, as in the trail.
 */

import { texts } from "./admin_texts.js";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const whole = new Intl.NumberFormat(texts.locale);
const tenths = new Intl.NumberFormat(texts.locale, { maximumFractionDigits: 1 });

export function count(value) {
  return whole.format(value);
}

/** Audio, as hours are told: 40 s, 1.5 min, 24 min, 12.5 h, 1,204 h. */
export function hours(valueMs) {
  const told = valueMs / HOUR_MS;
  if (valueMs < MINUTE_MS) return `${Math.round(valueMs / 1000)} ${texts.second}`;
  if (valueMs < 10 * MINUTE_MS) return `${tenths.format(valueMs / MINUTE_MS)} ${texts.minute}`;
  if (valueMs < HOUR_MS) return `${Math.round(valueMs / MINUTE_MS)} ${texts.minute}`;
  return `${told >= 100 ? whole.format(Math.round(told)) : tenths.format(told)} ${texts.hour}`;
}

/** 0.8 ms, 42 ms, 1.3 s, 12 min, 3 h, 5 d: one unit, for gauges and ages. */
export function duration(valueMs) {
  const size = Math.abs(valueMs);
  if (size < 10) return `${tenths.format(valueMs)} ms`;
  if (size < 1000) return `${Math.round(valueMs)} ms`;
  if (size < 10_000) return `${tenths.format(valueMs / 1000)} s`;
  if (size < MINUTE_MS) return `${Math.round(valueMs / 1000)} s`;
  if (size < HOUR_MS) return `${Math.round(valueMs / MINUTE_MS)} min`;
  if (size < 2 * DAY_MS) return `${tenths.format(valueMs / HOUR_MS)} h`;
  return `${whole.format(Math.round(valueMs / DAY_MS))} d`;
}

export function ago(atMs, nowMs = Date.now()) {
  const age = nowMs - atMs;
  return age < 5_000 ? texts.justNow : texts.ago(duration(age));
}

/** 1:02:03, for something that goes on. */
export function clock(valueMs) {
  const seconds = Math.max(0, Math.floor(valueMs / 1000));
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const shown = parts[0] === 0 ? parts.slice(1) : parts;
  return shown.map((part, index) => (index ? String(part).padStart(2, "0") : part)).join(":");
}

function pieces(atMs) {
  const iso = new Date(atMs).toISOString();
  return { date: iso.slice(0, 10), minute: iso.slice(11, 16), second: iso.slice(11, 19) };
}

/** 14:05:09; with the day unless it is today. */
export function moment(atMs, nowMs = Date.now()) {
  const { date, second } = pieces(atMs);
  return date === pieces(nowMs).date ? second : `${date.slice(5)} ${second}`;
}

/** 2026-11-24 14:05:09 */
export function fullMoment(atMs) {
  const { date, second } = pieces(atMs);
  return `${date} ${second}`;
}

/** What a field of type datetime-local holds, and what it says. */
export function fieldOfMoment(atMs) {
  if (Number.isNaN(new Date(atMs).getTime())) return "";
  return new Date(atMs).toISOString().slice(0, 16);
}

export function momentOfField(text) {
  const atMs = Date.parse(`${text}Z`);
  return Number.isNaN(atMs) ? null : atMs;
}

/** The name of a stretch of a chart: 14:00–15:00, or the day. */
export function stretch(atMs, lengthMs) {
  const day = new Intl.DateTimeFormat(texts.locale, {
    weekday: "short", day: "numeric", month: "short", timeZone: "UTC",
  }).format(atMs);
  if (lengthMs >= DAY_MS) return day;
  return `${day} ${pieces(atMs).minute}–${pieces(atMs + lengthMs).minute}`;
}

/** What stands under a chart at this moment. */
export function tick(atMs, lengthMs) {
  if (lengthMs >= DAY_MS || pieces(atMs).minute === "00:00") {
    return new Intl.DateTimeFormat(texts.locale, {
      day: "numeric", month: "short", timeZone: "UTC",
    }).format(atMs);
  }
  return pieces(atMs).minute;
}

/** Plus or minus so many percent; null where there is nothing to compare with. */
export function change(now, former) {
  if (!former || !Number.isFinite(former)) return null;
  const percent = Math.round((100 * (now - former)) / former);
  return `${percent > 0 ? "+" : percent < 0 ? "−" : "±"}${whole.format(Math.abs(percent))} %`;
}
