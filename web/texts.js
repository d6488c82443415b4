/**
 * Every word the page says, in one place, so that another language is another object like this one.
 *
 * `problems` is keyed by code: those of the server (server/errors.py) and those the page itself
 * finds. Each says what happened, then what to do.
 */

export const texts = Object.freeze({
  language: "en",

  start: "Start listening",
  starting: "Starting…",
  stop: "Stop",
  finishing: "Finishing…",

  statusIdle: "Ready",
  statusNoToken: "Token needed",
  statusMicrophone: "Waiting for the microphone",
  statusConnecting: "Connecting",
  statusListening: "Listening",
  statusFinishing: "Writing down the last words",
  statusStopped: "Stopped",

  captionsTitle: "Captions",
  hint: "Press the button, or Space, and speak. Your words appear here.",
  speech: "Speech",
  silence: "Silence",
  privacy: (host) => `Sound goes to ${host} and nowhere else.`,

  copy: "Copy",
  copied: "Copied",
  download: "Download TXT",

  tokenTitle: "A token opens this page",
  tokenWhy: "The server hears only those who bring one. On the server’s machine, this prints one:",
  tokenLabel: "Token",
  tokenSubmit: "Use it",
  tokenKept: "Kept in this tab until it is closed, and sent only to this server.",

  problems: Object.freeze({
    microphone_refused:
      "The browser may not use the microphone. Allow it for this page, in the address bar or in "
      + "the system’s privacy settings, and start again.",
    microphone_missing: "No microphone was found. Connect one and start again.",
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
    copy_failed: "The browser did not let the text be copied. Download it instead.",

    token_malformed:
      "That is not a token: one has three parts joined by dots. Copy all of what the command "
      + "prints.",
    unauthenticated: "The token is not valid, or it has expired. Bring a fresh one.",
    token_expired: "The token has expired. What was said is below. Bring a fresh one to go on.",
    revoked: "The token is no longer accepted. What was said is below. Bring a fresh one to go on.",
    ended_by_administrator: "An administrator has ended the session. What was said is below.",
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
    recording_too_long:
      "The recording is too long for this page, which takes up to four hours, or a file of up to "
      + "1 GB. Send a part of it, or use the command line.",
    audio_unreadable: "The file cannot be read. Bring a WAV, FLAC, OGG or MP3 file.",
    bad_request: "Page and server do not understand each other. Reload the page.",
    request_late: "The network was too slow for the file. Try again.",
    model_not_found: "The server has no such model.",
    bad_message: "Page and server do not understand each other. Reload the page.",
    message_too_big: "Page and server do not understand each other. Reload the page.",
    language_unknown: "The server’s model does not know this language.",
    internal: "The server failed. What was said is below. Start again.",
    shutting_down: "The server is restarting. What was said is below. Start again in a moment.",
    unknown: "Something went wrong. Reload the page and start again.",
  }),
});
