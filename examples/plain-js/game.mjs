// A lobby in plain JavaScript: welcomes players, announces them to each other and echoes what they send.
// Written from docs/protocol.md; Node.js 18 or newer, no packages.
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

const env = process.env;
const url = `${env.OMGSERVERS_SERVICE_URL}/service/v1/entrypoint/runtime/request/`;
const credentials = { runtime_id: env.OMGSERVERS_RUNTIME_ID, password: env.OMGSERVERS_PASSWORD };
const players = new Set();
let outgoing = [];
let counter = Date.now() * 1000;

// Repeats the same body until the backend answers; throws what is final (4xx other than 429).
async function deliver(verb, body, token) {
  const headers = { "Content-Type": "application/json" };
  if (token) headers.Authorization = `Bearer ${token}`;
  const request = { method: "POST", headers, body: JSON.stringify(body) };
  for (let pause = 200; ; pause = Math.min(pause * 2, 60_000)) {
    const answer = await fetch(url + verb, { ...request, signal: AbortSignal.timeout(60_000) }).catch(() => null);
    if (answer?.ok) return answer.json();
    if (answer && answer.status < 500 && ![410, 429].includes(answer.status)) {
      throw Object.assign(new Error(await answer.text()), { status: answer.status });
    }
    await sleep(pause * (0.5 + Math.random() / 2));
  }
}

function send(qualifier, body) {
  outgoing.push({ id: counter++, qualifier, body });
}

function handle(qualifier, body) {
  const client = body.client_id;
  if (qualifier === "ADD_CLIENT" || qualifier === "ADD_MATCH_CLIENT") {
    players.add(client);
    send("RESPOND_CLIENT", { client_id: client, message: { welcome: client } });
    send("BROADCAST_MESSAGE", { message: { players: players.size } });
  } else if (qualifier === "DELETE_CLIENT") {
    players.delete(client);
  } else if (qualifier === "HANDLE_MESSAGE") {
    send("RESPOND_CLIENT", { client_id: client, message: { echo: body.message } });
  }
}

process.on("SIGTERM", () => process.exit(0));
let token = (await deliver("create-token", credentials)).api_token;
let consumed = [];
let last = 0n;
for (;;) {
  let answer;
  try {
    const body = { outgoing_commands: outgoing, consumed_commands: consumed, wait: 20_000 };
    answer = await deliver("interchange", body, token);
  } catch (error) {
    if (error.status !== 401) throw error;
    token = (await deliver("create-token", credentials)).api_token;
    continue;
  }
  for (const rejected of answer.rejected_commands ?? []) console.log("rejected:", rejected);
  outgoing = [];
  consumed = answer.incoming_commands.map((entry) => entry.id);
  for (const { id, qualifier, body } of answer.incoming_commands) {
    if (BigInt(id) <= last) continue; // A repetition.
    last = BigInt(id);
    handle(qualifier, body);
  }
}
