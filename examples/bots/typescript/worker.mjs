// A worker for Node 20 and later, with types in comments: `npx tsc --checkJs --noEmit` checks
// them, and nothing has to be compiled or installed.
//
//   deia bot add reverse --worker node /path/to/worker.mjs --max-concurrent 8 --launch
//
// console.log would break the protocol: log with console.error, which is the bot's log.
// @ts-check
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * @typedef {{ id: string, attempt: number }} Attempt
 * @typedef {Attempt & { type: "task", task_type: string, content: string,
 *   metadata: Record<string, unknown>, tags: string[], priority: "P0" | "P1" | "P2" | "P3",
 *   deadline_at: string, timeout_seconds: number, traceparent?: string }} Task
 * @typedef {Task
 *   | (Attempt & { type: "cancel", reason: string })
 *   | { type: "ping", n: number }
 *   | { type: "input", id?: string, text: string }
 *   | { type: "shutdown" }} Order
 */

/** @param {Record<string, unknown>} message */
const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

/** @type {Map<string, AbortController>} */
const running = new Map();
/** @param {Attempt} of */
const key = ({ id, attempt }) => `${id}#${attempt}`;

/**
 * Carries out a task: replace this.
 * @param {Task} task
 * @param {AbortSignal} signal
 */
async function work(task, signal) {
  const { id, attempt } = task;
  const letters = [...task.content].reverse();
  for (const [at, letter] of letters.entries()) {
    say({ type: "output", id, attempt, text: letter });
    say({ type: "progress", id, attempt, value: (at + 1) / letters.length });
    await sleep(1, undefined, { signal });
  }
  return "";
}

/** @param {Task} task */
async function answer(task) {
  const { id, attempt } = task;
  const controller = new AbortController();
  running.set(key(task), controller);
  try {
    const output = await work(task, controller.signal);
    say({ type: "result", id, attempt, output });
  } catch (error) {
    const message = controller.signal.aborted ? "given up" : String(error);
    say({ type: "error", id, attempt, message });
  } finally {
    running.delete(key(task));
  }
}

say({ type: "hello", protocol: 1 });
for await (const line of createInterface({ input: process.stdin })) {
  /** @type {Order} */
  const order = JSON.parse(line);
  switch (order.type) {
    case "task":
      void answer(order);
      break;
    case "cancel":
      running.get(key(order))?.abort();
      break;
    case "ping":
      say({ type: "pong", n: order.n });
      break;
    case "input":
      say({ type: "log", level: "info", message: `someone said: ${order.text}` });
      break;
    case "shutdown":
      process.exit(0);
  }
}
