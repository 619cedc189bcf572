// A worker of a remote bot of deia, for Node 20 and later, without dependencies.
//
//   DEIA_URL=http://127.0.0.1:8000 DEIA_KEY=deia_... node worker.mjs far-1
//
// It does up to four tasks at a time: it turns their content into upper case. Replace
// `carryOut`. SIGTERM lets it finish what it has.
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

const HIVE = process.env.DEIA_URL ?? "http://127.0.0.1:8000";
const [BOT] = process.argv.slice(2);
const MAX = 4;
// Workers of one bot need different names: a worker that dies is charged for what it held.
const NAME = `${hostname()}/${randomUUID()}`;

class StaleLease extends Error {}

/** A failure with its class, such as `permanent`. */
class Failed extends Error {
  constructor(message, failureClass = "internal") {
    super(message);
    this.failureClass = failureClass;
  }
}

/** Sends a request until it is answered or cut off by the signal: each may be repeated. */
async function post(path, body, cut = undefined) {
  for (;;) {
    cut?.throwIfAborted();
    let answer, said;
    try {
      answer = await fetch(HIVE + path, {
        method: "POST",
        headers: {
          authorization: `Bearer ${process.env.DEIA_KEY}`,
          "content-type": "application/json",
        },
        body: JSON.stringify(body),
        signal: AbortSignal.any([AbortSignal.timeout(30_000), ...(cut ? [cut] : [])]),
      });
      said = await answer.json();
    } catch {
      // The hive is away, or the answer was lost.
    }
    if (said && answer.ok) return said;
    if (said?.code === "stale_lease") throw new StaleLease(said.detail);
    if (said && answer.status < 500 && answer.status !== 429) throw new Error(said.detail);
    await sleep(1000, undefined, { signal: cut });
  }
}

/** Does the work of a task, and returns its output. The signal says when to end. */
async function carryOut(task, signal) {
  if (task.content.startsWith("reject")) {
    throw new Failed("this worker does not do that", "permanent");
  }
  const [word, seconds] = task.content.split(" ");
  if (word === "sleep") await sleep(Number(seconds) * 1000, undefined, { signal });
  return task.content.toUpperCase();
}

/** Sends heartbeats, and aborts the work once the task was cancelled or lost. */
async function beat(task, report, work, over) {
  for (;;) {
    await sleep(task.heartbeat_seconds * 1000, undefined, { signal: over });
    const answer = await report("heartbeat", {});
    if (answer.cancel) return work.abort(new Failed(answer.reason ?? "cancelled"));
  }
}

async function work(task) {
  const lease = { attempt: task.attempt, lease_token: task.lease_token };
  const report = (what, fields) => post(`/api/v1/tasks/${task.id}/${what}`, { ...lease, ...fields });
  const [working, over] = [new AbortController(), new AbortController()];
  beat(task, report, working, over.signal).catch((error) => working.abort(error));
  try {
    const output = await carryOut(task, working.signal);
    await report("complete", { output });
  } catch (thrown) {
    // An aborted call throws an error of its own; the reason is with the signal.
    const error = working.signal.aborted ? working.signal.reason : thrown;
    if (error instanceof StaleLease) return console.error(`${task.id}: ${error.message}`);
    const failureClass = error.failureClass ?? "internal";
    await report("fail", { error: error.message || "no reason", class: failureClass });
  } finally {
    over.abort();
  }
}

const stop = new AbortController();
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => stop.abort());

/** Leases tasks. A request that the stop cut off may have been given some: asked again, the same. */
async function lease(ask) {
  const path = `/api/v1/bots/${BOT}/lease`;
  try {
    return await post(path, ask, stop.signal);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    return post(path, { ...ask, wait_ms: 0 }, AbortSignal.timeout(5_000)).catch(() => ({ tasks: [] }));
  }
}

const running = new Set();
for (let request = 1; !stop.signal.aborted; request += 1) {
  if (running.size === MAX) await Promise.race(running);
  const ask = { max: MAX - running.size, wait_ms: 20_000, worker: NAME, request: `${request}` };
  const { tasks } = await lease(ask);
  for (const task of tasks) {
    const end = work(task).catch((error) => console.error(`${task.id}: ${error.message}`));
    running.add(end);
    end.then(() => running.delete(end));
  }
}
await Promise.all(running);
