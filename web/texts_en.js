/**
 * Every word the microphone page says, in English; texts_zh.js has the same keys in Chinese.
 *
 * `problems` is keyed by code: those of the server (server/errors.py) and those the page itself
 * finds. Each says what happened, then what to do.
 */

export const texts = Object.freeze({
  language: "en",
  title: "Earwitness",

  start: "Start listening",
  starting: "Starting…",
  stop: "Stop",
  finishing: "Finishing…",

  statusIdle: "Ready",
  statusNoToken: "Token needed",
  statusMicrophone: "Waiting for the microphone",
  statusFile: "Reading the file",
  statusConnecting: "Connecting",
  statusListening: "Listening",
  statusTranscribing: "Transcribing",
  statusFinishing: "Writing down the last words",
  statusStopped: "Stopped",

  connected: "Connected",
  reconnecting: "Reconnecting",
  lost: "Connection lost",
  connectionLeft: (seconds) => `${seconds} s left`,
  begunAgain: "The server had to begin again here. A few words may be missing.",
  minutesLeft: (minutes) => `${minutes} min left`,
  secondsLeft: (seconds) => `${seconds} s left`,

  captionsTitle: "Captions",
  captionsKeys: "Arrow keys walk through the words; Enter tells when a word was said.",
  hint: "Press the button, or Space, and speak. Your words appear here.",
  hintFile: "Or drop a recording anywhere on the page.",
  embedHint: "Click, or press Space, to start",
  embedListening: "Listening…",
  speech: "Speech",
  silence: "Silence",
  elapsed: "Elapsed time",
  privacy: (host) =>
    `Sound goes to ${host} and nowhere else. The text is gone when this page is reloaded.`,

  openFile: "Open a file",
  dropHere: "Drop the recording to transcribe it",
  fileProgress: (name) => `Transcribing ${name}`,
  percent: (percent) => `${percent} %`,
  cancel: "Cancel",

  copy: "Copy",
  copied: "Copied",
  download: "Download",
  formats: Object.freeze({
    txt: "Text",
    srt: "SubRip subtitles",
    vtt: "WebVTT subtitles",
    json: "Words with times",
  }),

  wordTime: (time) => `At ${time}`,
  wordTimeEstimated: (time) => `At about ${time}`,
  wordConfidence: (percent) => `${percent} % sure`,
  wordEstimated: "The time is estimated from the length of the words.",

  doubtful: "Not sure of this word",

  settings: "Settings",
  settingsLocked: "A session is running. Stop it to change these.",
  inputDevice: "Microphone",
  inputDefault: "The system’s default",
  inputNameless: "Names appear once the browser has let this page use a microphone.",
  spokenLanguage: "Spoken language",
  findOut: "Find out by itself",
  modelLabel: "Model",
  modelUnknown: "The server tells it once a token is here",
  modelOnly: "The server runs one model.",
  noiseSuppression: "Suppress noise",
  echoCancellation: "Cancel echo",
  autoGain: "Even out loudness",
  shortcutsSwitch: "Keyboard shortcuts",
  settingsKept: "Remembered in this browser. The token is not.",
  close: "Close",

  help: "Keyboard shortcuts",
  helpDoubtful: "Dotted line",
  helpDoubtfulMeans: "under a word: the server is not sure of it. Click the word to see how sure.",
  keys: Object.freeze({
    toggle: "Start, or stop",
    copy: "Copy the text",
    download: "Download the text",
    open: "Open a recording",
    settings: "Settings",
    help: "This list",
    close: "Close what is open",
    words: "Walk through the words of the captions",
    word: "Time and confidence of a word",
  }),
  keyNames: Object.freeze({ space: "Space", escape: "Esc", enter: "Enter" }),

  tokenTitle: "A token opens this page",
  tokenWhy: "The server hears only those who bring one. On the server’s machine, this prints one:",
  tokenPage: "With --page at its end, it prints the address of this page instead. Either goes here:",
  tokenLabel: "Token, or the address",
  signInWith: (name) => `Sign in with ${name}`,
  tokenSubmit: "Use it",
  tokenKept: "Kept in this tab until it is closed, and sent only to this server.",

  problems: Object.freeze({
    microphone_refused:
      "The browser may not use the microphone. Allow it for this page, in the address bar or in "
      + "the system’s privacy settings, and start again.",
    microphone_missing:
      "No microphone was found. Connect one, or choose another in the settings, and start again.",
    microphone_busy:
      "The microphone cannot be opened. Another program may be using it: close that and start "
      + "again.",
    microphone_lost:
      "The microphone was disconnected. What was said is below. Connect it and start again.",
    microphone_silent: "The microphone was opened but gives no sound. Reload the page.",
    insecure_page:
      "Browsers give the microphone only to pages they can trust. Open this page over https, or "
      + "as localhost on the server’s own machine.",
    browser_too_old: "This browser cannot pass on sound from a page. Update it, or use another.",
    rate_unsupported:
      "The microphone runs at a rate the server does not take. Set it to 48 kHz in the system’s "
      + "sound settings and start again.",
    recording_too_long:
      "The recording is too long for this page, which takes up to four hours, or a file of up to "
      + "1 GB. Send a part of it, or use the command line.",
    one_recording:
      "One recording at a time, and none while the page is listening. Bring a single one when it "
      + "has stopped.",
    copy_failed: "The browser did not let the text be copied. Download it instead.",

    token_malformed:
      "That is not a token: one has three parts joined by dots. Copy all of what the command "
      + "prints.",
    code_invalid:
      "This address has signed somebody in before, or it is too old. Ask for a new one.",
    sign_in_failed:
      "You could not be signed in. Try again; if it stays like this, ask whoever runs the server.",
    provider_unavailable: "The service that signs people in does not answer. Try again later.",
    unauthenticated: "The token is not valid, or it has expired. Bring a fresh one.",
    token_expired: "The token has expired. What was said is below. Bring a fresh one to go on.",
    revoked: "The token is no longer accepted. What was said is below. Bring a fresh one to go on.",
    ended_by_administrator:
      "An administrator has ended the session. What was said is below. Ask them before you start "
      + "again.",
    lease_lost: "The session’s place was lost. What was said is below. Start again.",
    too_fast: "The sound came faster than it is spoken. What was said is below. Start again.",
    forbidden: "This token does not allow transcription. Ask for one that does.",
    origin_refused:
      "The server does not accept this page’s address. Open it under an address the server’s "
      + "settings list among its origins.",
    too_many_sessions:
      "This token already has as many sessions as it may. End one, then start again.",
    too_many_starts: "Too many sessions were begun with this token. Wait a minute, then start again.",
    address_blocked: "Too much was tried from this network. Wait a while, then start again.",
    trail_unavailable: "The server can take nobody in now. Wait a moment, then start again.",
    overloaded: "The server is full. Wait a moment, then start again.",
    not_accepted:
      "The server did not take the session: it is full, this token is in use elsewhere, or this "
      + "page’s address is not among the server’s origins. Wait a moment, then start again.",
    unreachable:
      "The server cannot be reached. Check the network and that the server runs, then start again.",
    network_lost: "The connection was lost. What was said is below. Start again to go on.",
    network_slow:
      "The connection is too slow for the sound, and was ended. What was said is below. Start "
      + "again when the network is better.",

    quota_audio:
      "The audio time that the token gives a session is used up. What was said is below. Start "
      + "again to go on, or bring a token that allows more.",
    quota_bytes:
      "The data that the token gives a session is used up. What was said is below. Start again to "
      + "go on, or bring a token that allows more.",
    quota_daily:
      "The audio time that the token gives a day is used up. What was said is below. Go on tomorrow, "
      + "or bring a token that allows more.",
    session_too_long:
      "The session has reached its longest time. What was said is below. Start again to go on.",
    session_gone:
      "The connection was away for too long, and the session has ended. What was said is below. "
      + "Start again to go on.",
    idle: "The server heard nothing for too long and ended the session. Start again.",
    start_late: "The start took too long. Start again.",
    audio_unreadable: "The file cannot be read as sound. Bring a WAV, FLAC, OGG or MP3 file.",
    bad_request: "Page and server do not understand each other. Reload the page.",
    request_late: "The network was too slow for the file. Try again.",
    call_unknown: "The server hears no such call. Wait until it begins, then try again.",
    slow_reader: "The network was too slow for the words of the call. Try again.",
    model_not_found: "The server has no such model. Choose another one in the settings.",
    bad_message: "Page and server do not understand each other. Reload the page.",
    message_too_big: "Page and server do not understand each other. Reload the page.",
    language_unknown:
      "The server’s model does not know this language. Choose another one in the settings.",
    internal: "The server failed. What was said is below. Start again.",
    shutting_down: "The server is restarting. What was said is below. Start again in a moment.",
    unknown: "Something went wrong. Reload the page and start again.",
  }),
});
