/**
 * The page: a button in, captions out; joins microphone or file, session, transcript and captions.
 *
 * One session at a time; `listening.js` is its way from the source to the last word. What is shown
 * of it is in instruments.js and captions.js, what is chosen in settings_panel.js and files.js.
 */

import { Captions } from "./captions.js";
import { openMicrophone } from "./capture.js";
import { embedding } from "./embed.js";
import { Files } from "./files.js";
import { Instruments } from "./instruments.js";
import { Keeping } from "./keeping.js";
import { Listening } from "./listening.js";
import { Settings } from "./settings.js";
import { SettingsPanel } from "./settings_panel.js";
import { listenForKeys } from "./shortcuts.js";
import { renew } from "./sign_in.js";
import { otherLanguage, texts, useLanguage } from "./texts.js";
import { TokenForm } from "./token_form.js";
import { Transcript } from "./transcript.js";
import { whoami } from "./whoami.js";
import { Words } from "./words.js";
import { say } from "./wording.js";

const TOKEN_CODES = Object.freeze(["unauthenticated", "token_expired", "revoked", "forbidden"]);
const RESTING = Object.freeze(["idle", "stopped"]);

const on = Object.fromEntries(
  [...document.querySelectorAll("[id]")].map((element) => [element.id, element]),
);
let listening = null;
let problem = { code: null, message: "" };

const embed = embedding(on, () => toggle());
const settings = new Settings();
const transcript = new Transcript();
const captions = new Captions(on.captions, on.announcer, on.hint, embed.mostLines);
const instruments = new Instruments(on);
const keeping = new Keeping(on, transcript, (code) => showProblem(code));
const files = new Files(on, (file) => listenToFile(file), (code) => showProblem(code));
const tokens = new TokenForm(on, receiveToken);
const panel = new SettingsPanel(on, settings, () => whoami(tokens.stored()));
if (!embed.isOn) new Words(on, transcript);

// --- a session ---

function listenToMicrophone() {
  const wishes = {
    deviceId: settings.get("deviceId") || null,
    noiseSuppression: settings.get("noiseSuppression"),
    echoCancellation: settings.get("echoCancellation"),
    autoGain: settings.get("autoGain"),
  };
  return listen(() => openMicrophone(wishes));
}

async function listenToFile(file) {
  if (!isResting()) return;
  if (tokens.isMissing) return on["token-field"].focus();
  const { openRecording } = await import("./recording.js");
  document.body.dataset.source = "file";
  files.begin(file.name);
  await listen(() => openRecording(file));
  files.end();
  document.body.dataset.source = "microphone";
}

async function listen(openSource) {
  showProblem(null);
  instruments.showConnection(null);
  transcript.beginSession();
  window.addEventListener("beforeunload", askBeforeLeaving);
  listening = new Listening({
    openSource: () => beginWith(openSource),
    token: () => tokens.current(),
    start: { language: settings.get("language") || null },
    on: {
      state: showState,
      event: receiveEvent,
      successor: receiveSuccessor,
      level: (level) => instruments.showLevel(level),
      progress: showProgress,
      quota: (left) => instruments.showQuota(left),
      connection: (name, { leftMs }) => instruments.showConnection(name, leftMs),
    },
  });
  const code = await listening.done;
  window.removeEventListener("beforeunload", askBeforeLeaving);
  instruments.showSpeech(false);
  showProblem(code, listening.message);
  listening = null;
}

async function beginWith(openSource) {
  const source = await openSource();
  instruments.begin(source.sampleRateHz);
  return source;
}

function receiveEvent(event) {
  if (event.type === "token_expiring") renewToken();
  if (event.type === "speech_started") instruments.showSpeech(true);
  if (event.type === "speech_ended") instruments.showSpeech(false);
  const segment = transcript.receive(event);
  if (segment === null) return;
  captions.show(segment);
  keeping.show(captions.isEmpty);
}

/** The server lost the session, and another goes on. */
function receiveSuccessor(formerMs) {
  transcript.beginSession(formerMs);
  instruments.showSpeech(false);
  captions.note("begunAgain");
}

async function renewToken() {
  const token = await renew();
  if (token) listening?.refresh(token);
}

function showProgress({ sentMs, durationMs }) {
  instruments.showProgress(sentMs);
  if (durationMs !== null) files.show({ sentMs, durationMs });
}

function askBeforeLeaving(event) {
  if (!captions.isEmpty) event.preventDefault();
}

// --- what is shown ---

function showState(state) {
  document.body.dataset.state = state;
  if (state === "stopped" && on.connection.dataset.connection !== "lost") {
    instruments.showConnection(null);
  }
  files.lock(!isResting());
  panel.lock(!isResting());
  showStateWords();
  on.toggle.setAttribute("aria-disabled", String(!isToggleOpen()));
}

function showStateWords() {
  const { state, source } = document.body.dataset;
  const isFile = source === "file";
  const words = {
    idle: [texts.start, texts.statusIdle],
    microphone: [texts.starting, isFile ? texts.statusFile : texts.statusMicrophone],
    connecting: [texts.starting, texts.statusConnecting],
    listening: [texts.stop, isFile ? texts.statusTranscribing : texts.statusListening],
    finishing: [texts.finishing, texts.statusFinishing],
    stopped: [texts.start, texts.statusStopped],
  };
  const [label, status] = words[state];
  const isTokenNeeded = document.body.dataset.token === "missing" && isResting();
  on["toggle-label"].textContent = label;
  on["embed-hint"].textContent = embedWords(state, label);
  on.status.textContent = isTokenNeeded ? texts.statusNoToken : status;
}

/** Until there are captions. */
function embedWords(state, label) {
  if (isResting()) return texts.embedHint;
  return state === "listening" ? texts.embedListening : label;
}

function isResting() {
  return RESTING.includes(document.body.dataset.state);
}

function isToggleOpen() {
  return isResting() || document.body.dataset.state === "listening";
}

/** @param {string | null} code null takes the problem away */
function showProblem(code, message = "") {
  problem = { code, message };
  showProblemWords();
  if (TOKEN_CODES.includes(code)) {
    tokens.ask();
    showStateWords();
  }
}

function showProblemWords() {
  const { code, message } = problem;
  on.problem.hidden = code === null;
  on.problem.textContent = code === null ? "" : (texts.problems[code] ?? message);
}

function receiveToken(code) {
  problem = { code, message: "" };
  showProblemWords();
  showStateWords();
}

// --- the page ---

function toggle() {
  if (!isToggleOpen()) return;
  if (document.body.dataset.state === "listening") listening.stop();
  else if (tokens.isMissing) on["token-field"].focus();
  else listenToMicrophone();
}

function switchLanguage() {
  useLanguage(otherLanguage());
  showWords();
  instruments.reword();
  tokens.reword();
}

function showWords() {
  say(document);
  showStateWords();
  showProblemWords();
}

function begin() {
  on.toggle.addEventListener("click", toggle);
  on["file-cancel"].addEventListener("click", () => listening?.stop());
  on["settings-open"].addEventListener("click", () => panel.open());
  on["help-open"].addEventListener("click", () => on.help.showModal());
  on["language-switch"].addEventListener("click", switchLanguage);
  const letters = {
    c: () => keeping.copy(),
    d: () => keeping.openMenu(),
    o: () => files.choose(),
    s: () => panel.open(),
    "?": () => on.help.showModal(),
  };
  const areOn = () => settings.get("shortcuts") && !embed.isOn;
  listenForKeys({ " ": toggle, ...letters }, areOn);
  showWords();
}

begin();
