// Deepgram's SDK for Node: live, and with a file.
const { DeepgramClient } = require("@deepgram/sdk");

const FRAME_BYTES = 640;
const tell = (line) => console.log(JSON.stringify(line));
const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

async function live(given, client) {
  const connection = await client.listen.v1.connect(given.options);
  let closes = 0;
  const closed = new Promise((resolve) => {
    connection.on("open", () => tell({ type: "open" }));
    connection.on("message", (message) => tell(message));
    connection.on("error", (error) => tell({ type: "failed", error: error.message }));
    connection.on("close", (event) => {
      closes += 1;
      tell({ type: "closed", code: event.code, closes });
      resolve();
    });
  });
  connection.connect();
  try {
    await Promise.race([connection.waitForOpen(), closed]);
    const pcm = Buffer.from(given.audio, "base64");
    const frameBytes = given.frame_bytes ?? FRAME_BYTES;
    for (let start = 0; start < pcm.length; start += frameBytes) {
      connection.sendMedia(pcm.subarray(start, start + frameBytes));
      await sleep(given.frame_s);
    }
    connection.sendCloseStream({ type: "CloseStream" });
  } catch (error) {
    tell({ type: "cut", error: String(error.message) });
  }
  await closed;
  await sleep(given.linger_s ?? 0); // whether it comes again
}

async function main() {
  const given = JSON.parse(await new Promise((resolve) => {
    let text = "";
    process.stdin.on("data", (part) => (text += part)).on("end", () => resolve(text));
  }));
  const ws = given.url.replace("http", "ws");
  const environment = { base: given.url, production: ws, agent: ws, agentRest: given.url };
  const client = new DeepgramClient({ apiKey: given.key, environment });
  if (given.way === "live") {
    await live(given, client);
  } else {
    try {
      const audio = Buffer.from(given.audio, "base64");
      tell(await client.listen.v1.media.transcribeFile(audio, given.options));
    } catch (error) {
      tell({ type: error.constructor.name, status: error.statusCode, body: error.body });
    }
  }
  process.exit(0);
}

main();
