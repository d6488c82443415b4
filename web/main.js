/**
 * The page: a button in, captions out; joins microphone, session, transcript and captions.
 *
 * One session at a time; `listening.js` is its way from the microphone to the last word. The token
 * comes in the address after #, which no server sees, and leaves the address at once.
 */

import { Captions } from "./captions.js";
import { openMicrophone } from "./capture.js";
import { Listening } from "./listening.js";
import { StreamError, isToken } from "./stream.js";
import { texts } from "./texts.js";
import { Transcript } from "./transcript.js";

const TOKEN_KEY = "earwitness.token";
const TOKEN_CODES = Object.freeze(["unauthenticated", "token_expired", "revoked", "forbidden"]);
const QUIETEST_DB = -60;
const COPIED_MS = 2_000;
/** Some browsers read the text only after the click has been dealt with. */
const DOWNLOAD_BEGUN_MS = 10_000;

const STATES = Object.freeze({
  idle: { label: texts.start, status: texts.statusIdle },
  microphone: { label: texts.starting, status: texts.statusMicrophone },
  connecting: { label: texts.starting, status: texts.statusConnecting },
  listening: { label: texts.stop, status: texts.statusListening },
  finishing: { label: texts.finishing, status: texts.statusFinishing },
  stopped: { label: texts.start, status: texts.statusStopped },
});

const on = Object.fromEntries(
  [...document.querySelectorAll("[id]")].map((element) => [element.id, element]),
);
const transcript = new Transcript();
const captions = new Captions(on.captions, on.announcer, on.hint);
let listening = null;

// --- a session ---

async function listen() {
  showProblem(null);
  transcript.beginSession();
  listening = new Listening({
    openSource: openMicrophone,
    token: storedToken,
    start: { language: null },
    on: {
      state: showState,
      event: receiveEvent,
      level: showLevel,
      progress: ({ sentMs }) => showElapsed(sentMs),
      quota: () => {},
      connection: () => {},
    },
  });
  const problem = await listening.done;
  showSpeech(false);
  if (problem) showProblem(problem, listening.message);
}

function receiveEvent(event) {
  if (event.type === "speech_started") showSpeech(true);
  if (event.type === "speech_ended") showSpeech(false);
  const segment = transcript.receive(event);
  if (segment === null) return;
  captions.show(segment);
  on.copy.disabled = on.download.disabled = captions.isEmpty;
}

// --- what is shown ---

function showState(state) {
  document.body.dataset.state = state;
  on["toggle-label"].textContent = STATES[state].label;
  showStatus();
  on.toggle.setAttribute("aria-disabled", String(!isToggleOpen()));
}

function showStatus() {
  const isTokenNeeded = isTokenMissing() && isToggleOpen();
  on.status.textContent = isTokenNeeded
    ? texts.statusNoToken
    : STATES[document.body.dataset.state].status;
}

function isToggleOpen() {
  return ["idle", "listening", "stopped"].includes(document.body.dataset.state);
}

/** @param {string | null} code null takes the problem away */
function showProblem(code, message = "") {
  on.problem.hidden = code === null;
  on.problem.textContent = code === null ? "" : (texts.problems[code] ?? message);
  if (TOKEN_CODES.includes(code)) askForToken();
}

function showLevel(level) {
  const db = 20 * Math.log10(Math.max(level, 1e-6));
  const share = Math.max(0, Math.min(1, 1 - db / QUIETEST_DB));
  on["level-bar"].style.transform = `scaleX(${share.toFixed(3)})`;
}

function showSpeech(isActive) {
  on.speech.dataset.active = String(isActive);
  on.speech.textContent = isActive ? texts.speech : texts.silence;
}

function showElapsed(sentMs) {
  const seconds = Math.floor(sentMs / 1000);
  const text = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  if (on.elapsed.textContent !== text) on.elapsed.textContent = text;
}

// --- the token ---

function storedToken() {
  const token = sessionStorage.getItem(TOKEN_KEY);
  if (token === null) throw new StreamError("unauthenticated");
  return token;
}

function takeTokenFromAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token !== null) {
    history.replaceState(null, "", location.pathname + location.search);
    useToken(token.trim());
  } else if (sessionStorage.getItem(TOKEN_KEY) === null) {
    askForToken();
  }
}

function useToken(token) {
  if (!isToken(token)) {
    askForToken();
    showProblem("token_malformed");
    return;
  }
  sessionStorage.setItem(TOKEN_KEY, token);
  on["token-form"].hidden = true;
  document.body.dataset.token = "here";
  showStatus();
  showProblem(null);
}

function isTokenMissing() {
  return document.body.dataset.token === "missing";
}

function askForToken() {
  sessionStorage.removeItem(TOKEN_KEY);
  on["token-form"].hidden = false;
  on["token-field"].value = "";
  document.body.dataset.token = "missing";
  showStatus();
  on["token-field"].focus();
}

// --- keeping the text ---

async function copyText() {
  try {
    await navigator.clipboard.writeText(transcript.text);
  } catch {
    showProblem("copy_failed");
    return;
  }
  on.copy.textContent = texts.copied;
  setTimeout(() => (on.copy.textContent = texts.copy), COPIED_MS);
}

function downloadText() {
  const link = document.createElement("a");
  const moment = new Date().toISOString().slice(0, 16).replace(/[T:]/g, "-");
  link.href = URL.createObjectURL(new Blob([transcript.text], { type: "text/plain" }));
  link.download = `earwitness-${moment}.txt`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), DOWNLOAD_BEGUN_MS);
}

// --- the page ---

function toggle() {
  if (!isToggleOpen()) return;
  if (document.body.dataset.state === "listening") listening.stop();
  else if (isTokenMissing()) on["token-field"].focus();
  else listen();
}

function toggleBySpace(event) {
  const isTaken = event.target.closest("button, input, a");
  const isOther = event.repeat || event.ctrlKey || event.altKey || event.metaKey;
  if (event.code !== "Space" || isOther || isTaken) return;
  event.preventDefault();
  toggle();
}

function begin() {
  document.documentElement.lang = texts.language;
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = texts[element.dataset.text];
  }
  on.privacy.textContent = texts.privacy(location.hostname);
  on.toggle.addEventListener("click", toggle);
  on.copy.addEventListener("click", copyText);
  on.download.addEventListener("click", downloadText);
  on["token-form"].addEventListener("submit", (event) => {
    event.preventDefault();
    useToken(on["token-field"].value.trim());
    if (!isTokenMissing()) on.toggle.focus();
  });
  document.addEventListener("keydown", toggleBySpace);
  window.addEventListener("hashchange", takeTokenFromAddress);
  document.body.dataset.token = "here";
  showSpeech(false);
  showState("idle");
  takeTokenFromAddress();
}

begin();
