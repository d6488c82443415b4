// OpenAI's client for Node hears a recording: a line for each event, for an error and for the close.
// `is_page` takes the class that it has for browsers, which brings its key as a subprotocol; `stays`
// leaves the end to the server.
const OpenAI = require("openai");
const { OpenAIRealtimeWS } = require("openai/realtime/ws");
const { OpenAIRealtimeWebSocket } = require("openai/realtime/websocket");
const ws = require("ws");

const CHUNK_BYTES = 2400;
const COMPLETED = "conversation.item.input_audio_transcription.completed";
const tell = (what) => console.log(JSON.stringify(what));

async function hear(given) {
  const client = new OpenAI({ baseURL: given.url, apiKey: given.key, dangerouslyAllowBrowser: true });
  globalThis.WebSocket = ws.WebSocket; // as a browser has it
  const realtime = given.is_page
    ? new OpenAIRealtimeWebSocket({ intent: "transcription", dangerouslyAllowBrowser: true }, client)
    : new OpenAIRealtimeWS({ intent: "transcription" }, client);
  const pcm = Buffer.from(given.pcm, "base64");
  realtime.on("error", (error) => tell({ error: error.constructor.name, message: error.message, body: error.error }));
  realtime.on("event", (event) => tell(event));
  realtime.on("session.created", () => realtime.send({ type: "session.update", session: given.session }));
  realtime.on("session.updated", () => {
    for (let at = 0; at < pcm.length; at += CHUNK_BYTES) {
      const audio = pcm.subarray(at, at + CHUNK_BYTES).toString("base64");
      realtime.send({ type: "input_audio_buffer.append", audio });
    }
  });
  if (!given.stays) realtime.on(COMPLETED, () => realtime.close({ code: 1000, reason: "heard" }));
  const socket = realtime.socket;
  socket.addEventListener("close", (event) => tell({ closed: event.code, subprotocol: socket.protocol }));
}

async function transcribe(given) {
  const client = new OpenAI({ baseURL: given.url, apiKey: given.key, maxRetries: 0 });
  const file = new File([Buffer.from(given.wav, "base64")], "speech.wav");
  try {
    tell(await client.audio.transcriptions.create({ model: "whisper-1", file }));
  } catch (error) {
    tell({ error: error.constructor.name, status: error.status, code: error.code });
  }
}

let text = "";
process.stdin.on("data", (data) => (text += data));
process.stdin.on("end", async () => {
  const given = JSON.parse(text);
  await (given.wav ? transcribe : hear)(given);
});
