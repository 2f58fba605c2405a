/**
 * An isolate of a few lines: what the hosted runtime gives to a function, with its limits enforced. It says its port on stdout.
 * ISOLATE_WALL_MS and ISOLATE_CPU_MS end it as the hosted one does: an event at the soft limit, half of the CPU time or 5 s before
 * the end of the wall clock, and death at the hard one. ISOLATE_LEAVES=1: it ends when its background work is done.
 */
import process from "node:process";

const wallMs = Number(Deno.env.get("ISOLATE_WALL_MS") ?? 150_000);
const cpuMs = Number(Deno.env.get("ISOLATE_CPU_MS") ?? 2_000);
const leaves = Deno.env.get("ISOLATE_LEAVES") === "1";
const before = process.cpuUsage();
let told = false;
let pending = 0;

function tell(reason: string): void {
  if (told) return;
  told = true;
  dispatchEvent(new CustomEvent("beforeunload", { detail: { reason } }));
}

function die(): void {
  Deno.kill(Deno.pid, "SIGKILL");
}

setInterval(() => {
  const used = process.cpuUsage(before);
  const cpu = (used.user + used.system) / 1000;
  if (cpu >= cpuMs || performance.now() >= wallMs) die();
  else if (cpu >= cpuMs / 2 && Deno.env.get("ISOLATE_WARNS") === "1") tell("cpu");
  else if (performance.now() >= wallMs - 5_000) tell("wall_clock");
}, 10);

Object.assign(globalThis, {
  EdgeRuntime: {
    waitUntil(work: Promise<unknown>): void {
      pending++;
      work.finally(() => {
        pending--;
        if (pending === 0 && (leaves || told)) Deno.exit(0);
      });
    },
  },
});

Deno.addSignalListener("SIGTERM", () => {
  tell("termination");
  if (pending === 0) Deno.exit(0);
});

const serve = Deno.serve;
Object.defineProperty(Deno, "serve", {
  value: (handler: Deno.ServeHandler) =>
    serve({ hostname: "127.0.0.1", port: 0, onListen: ({ port }) => console.log(port) }, handler),
});

await import(Deno.args[0]!);
