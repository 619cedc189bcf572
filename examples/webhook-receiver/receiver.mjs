// Receives webhooks of deia: verifies each delivery, answers 204 and prints a line.
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const MAX_BYTES = 1024 * 1024;
const webhook = new Webhook(process.env.WEBHOOK_SECRET ?? "");
const seen = new Set(); // ids of deliveries that were handled; in earnest they belong in a database

async function bodyOf(request) {
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) throw new Error("the body is too large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks); // verify these bytes, not JSON made from them
}

const server = createServer(async (request, response) => {
  let event;
  try {
    event = webhook.verify(await bodyOf(request), request.headers);
  } catch {
    return response.writeHead(401).end();
  }
  const message = request.headers["webhook-id"];
  if (!seen.has(message)) { // a retry has the id of the first attempt
    seen.add(message);
    console.log(event.type, event.data.task_id ?? "-", message);
  }
  response.writeHead(204).end();
});

server.listen(Number(process.env.PORT ?? 9000), "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
