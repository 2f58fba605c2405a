/** How much of its time an isolate has used: CPU time, which the hosted runtime limits to 2 s, and wall clock. */
import process from "node:process";
import type { Settings } from "./settings.ts";

export class Budget {
  // Of the process: where the runtime shares it among isolates this counts too much, and the worker ends early.
  private readonly before = process.cpuUsage();

  /** Milliseconds of CPU time since the isolate began. */
  cpuMs(): number {
    const used = process.cpuUsage(this.before);
    return Math.round((used.user + used.system) / 1000);
  }

  /** Seconds that are left of the wall clock. */
  leftS(settings: Settings): number {
    return settings.wallS - performance.now() / 1000;
  }

  /** Which limit is reached, if one is. */
  exhausted(settings: Settings): "cpu" | "wall" | null {
    if (settings.cpuMs > 0 && this.cpuMs() >= settings.cpuMs) return "cpu";
    return this.leftS(settings) <= 0 ? "wall" : null;
  }
}
