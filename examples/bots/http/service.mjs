// A bot that is a service: it is posted each task, and answers with the result.
//
// Needs Node 18 and nothing else. PORT is the port on loopback (0: any free one),
// SIGNING_SECRET the secret that the hive signs its requests with, as Standard Webhooks do.

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

// Requests with an older timestamp are refused: somebody may have recorded them.
const TOLERANCE_SECONDS = 300;
const MAX_BODY_BYTES = 16 << 20;

// The key of a secret: base64 after `whsec_`, the text itself otherwise.
function keyOf(secret) {
  const prefix = "whsec_";
  return secret.startsWith(prefix)
    ? Buffer.from(secret.slice(prefix.length), "base64")
    : Buffer.from(secret);
}

// Whether the hive has signed this request, and lately.
function isSigned(key, headers, body) {
  const id = headers["webhook-id"] ?? "";
  const timestamp = headers["webhook-timestamp"] ?? "";
  const age = Math.abs(Date.now() / 1000 - Number(timestamp));
  if (!/^[0-9]+$/.test(timestamp) || age > TOLERANCE_SECONDS) return false;
  const hmac = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body);
  const expected = Buffer.from(`v1,${hmac.digest("base64")}`);
  return (headers["webhook-signature"] ?? "").split(" ").some((signature) => {
    const given = Buffer.from(signature);
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
}

// Does the work: here, the content in capitals.
async function carryOut(task) {
  return task.content.toUpperCase();
}

function answer(response, status, body) {
  if (body === undefined) return response.writeHead(status).end();
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

const secret = process.env.SIGNING_SECRET;
if (!secret) {
  console.error("SIGNING_SECRET is missing");
  process.exit(1);
}
const key = keyOf(secret);

const server = createServer(async (request, response) => {
  // The health_url of the bot.
  if (request.method === "GET") return answer(response, request.url === "/health" ? 204 : 404);
  const pieces = [];
  let length = 0;
  try {
    for await (const piece of request) {
      length += piece.length;
      if (length > MAX_BODY_BYTES) return answer(response, 413, { error: "the task is too large" });
      pieces.push(piece);
    }
  } catch {
    // The hive has dropped the request: the task was cancelled, or its time is over.
    return;
  }
  const body = Buffer.concat(pieces);
  // A fault of the bot: the hive tries no further tasks for a while.
  if (!isSigned(key, request.headers, body)) {
    return answer(response, 401, { error: "the signature is wrong" });
  }
  const task = JSON.parse(body);
  // The task can never succeed.
  if (!task.content) return answer(response, 422, { error: "the task has no content" });
  // Another request with this id is the same attempt.
  console.log(`task ${request.headers["webhook-id"]}`);
  answer(response, 200, { output: await carryOut(task) });
});

server.listen(Number(process.env.PORT ?? 8900), "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
