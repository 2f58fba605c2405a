/**
 * qctl's worker as a Supabase Edge Function. PostgreSQL wakes it (qctl.wake_edge); it answers at once and works in the
 * background: claims messages, posts them to their endpoint, settles what came of them, and ends when nothing is left to do or
 * its time is used up. Written by `qctl edge init`; the settings come from the environment, see settings.ts.
 */
import { Database, SchemaError } from "./database.ts";
import { log } from "./log.ts";
import { Budget } from "./budget.ts";
import { readSettings, type Settings } from "./settings.ts";
import { readWake } from "./wake.ts";
import { Worker } from "./worker.ts";

/** What the hosted runtime offers; `waitUntil` keeps the isolate until the promise is settled. */
declare const EdgeRuntime: { waitUntil(work: Promise<unknown>): void };

const budget = new Budget();
let worker: Worker | null = null;
let starting = false;
/** A worker has ended because the time of this isolate was used up: another one would end at once. */
let spent = false;

addEventListener("beforeunload", (event) => {
  const reason = (event as CustomEvent<{ reason?: string }>).detail?.reason ?? "shutdown";
  log("info", "unload", { reason });
  worker?.retire(reason === "cpu" ? "cpu" : reason === "wall_clock" ? "wall" : "shutdown");
});

Deno.serve(async (request) => {
  if (request.method !== "POST") return answer(405, "a wake is a POST");
  const settings = readSettings();
  if (typeof settings === "string") return answer(500, settings);
  const wake = await readWake(request, settings.wakeSecrets);
  if ("refused" in wake) return answer(401, wake.refused);
  if (worker !== null || starting) return answer(200, null, "a worker runs already");
  if (spent || budget.exhausted(settings)) return answer(200, null, "the time of this isolate is used up");
  starting = true;
  try {
    return await begin(wake.id, settings);
  } finally {
    starting = false;
  }
});

async function begin(wakeId: string, settings: Settings): Promise<Response> {
  const database = new Database(settings.dsn);
  try {
    const workerId = await database.begin(wakeId, settings.name);
    if (workerId === null) {
      await database.close();
      return answer(409, "this wake is not known, or a worker began by it already");
    }
    worker = new Worker(database, workerId, budget, settings);
    EdgeRuntime.waitUntil(
      worker.run().then((reason) => {
        spent = reason === "cpu" || reason === "wall";
        worker = null;
      }),
    );
    return answer(202, null, "a worker began");
  } catch (error) {
    await database.close();
    const outdated = error instanceof SchemaError;
    log("error", "cannot begin", { error: (error as Error).message });
    return answer(
      outdated ? 500 : 503,
      `${outdated ? "" : "no connection to the database: "}${(error as Error).message}`,
    );
  }
}

function answer(status: number, error: string | null, done?: string): Response {
  if (error !== null) log("warning", "refused a wake", { status, error });
  return Response.json(error === null ? { done } : { error }, { status });
}
