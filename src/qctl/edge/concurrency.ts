/**
 * How many requests at once an endpoint takes without slowing down: as qctl worker finds it (src/qctl/worker/concurrency.py), after
 * the gradient controller of Envoy's adaptive concurrency filter, with the floor of the latency measured at one request at a time.
 */

const TOLERANCE = 1.3;
const HEADROOM = 0.5;
const LEAST_GRADIENT = 0.5;
const BACKOFF = 0.7;
const WINDOW = 20;
const FLOOR_SAMPLES = 25;
const FLOOR_LEAST = 5;
const FLOOR_WITHIN_S = 1.2;
const FLOOR_EVERY_S = 60;
const FLOOR_SHARE = 0.02;

export class ConcurrencyLimit {
  private limit = 1;
  private floorMs: number | null = null;
  private measuring = true;
  private began: number;
  private nextFloor = 0;
  private failed = false;
  private samples: number[] = [];

  /** @param most never above this */
  constructor(public most: number, private readonly clock: () => number = () => performance.now() / 1000) {
    this.began = clock();
  }

  /** Requests that may be under way now. */
  get atOnce(): number {
    return this.measuring ? 1 : Math.max(1, Math.min(this.most, Math.round(this.limit)));
  }

  /** Takes an answer into account. `atOnce`: requests that were under way when it began, itself included. */
  note(status: number | null, durationMs: number, atOnce: number): void {
    if (status === null || status === 429 || status === 503) {
      if (!this.failed && !this.measuring) {
        this.limit = Math.max(1, this.limit * BACKOFF);
        this.failed = true;
      }
    } else if (this.measuring) {
      if (atOnce === 1) {
        this.samples.push(durationMs);
        this.endMeasuring();
      }
    } else if (atOnce * 2 >= this.atOnce) {
      // While there was little to send, latency says nothing about more.
      this.samples.push(durationMs);
      if (this.samples.length >= Math.max(WINDOW, this.atOnce)) this.follow(median(this.samples));
    }
  }

  private endMeasuring(): void {
    const now = this.clock();
    const enough = this.samples.length >= FLOOR_SAMPLES;
    if (!enough && (this.samples.length < FLOOR_LEAST || now - this.began < FLOOR_WITHIN_S)) return;
    // A few samples scatter, so what was known before counts as well, unless the endpoint has become another.
    const found = median(this.samples);
    const known = this.floorMs;
    this.floorMs = known === null || !(known / 2 < found && found < known * 2) ? found : (found + known) / 2;
    this.measuring = false;
    this.nextFloor = now + Math.max(FLOOR_EVERY_S, (now - this.began) / FLOOR_SHARE);
    this.samples = [];
  }

  private follow(latencyMs: number): void {
    this.samples = [];
    this.failed = false;
    this.floorMs = Math.min(this.floorMs ?? latencyMs, latencyMs);
    const gradient = latencyMs ? Math.max(LEAST_GRADIENT, TOLERANCE * this.floorMs / latencyMs) : TOLERANCE;
    this.limit = Math.max(1, Math.min(this.most, this.limit * Math.min(gradient, TOLERANCE) + HEADROOM));
    if (this.clock() >= this.nextFloor) {
      this.measuring = true;
      this.began = this.clock();
    }
  }
}

function median(samples: number[]): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
