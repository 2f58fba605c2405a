/** A queue as one worker sees it: what it holds of it, and when it looks again. After src/qctl/worker/queue_state.py. */
import { ConcurrencyLimit } from "./concurrency.ts";
import type { QueueRow } from "./database.ts";
import { type Network, networks } from "./guard.ts";
import type { Answer } from "./sender.ts";

const AHEAD_S = 0.25;
export const SHORTEST_POLL_MS = 10;
const AWAKE_POLL_MS = 100;
/** Nothing can notify it through a transaction pooler, so it looks often for a while after there was work. */
const AWAKE_MS = 2000;
const LONGEST_POLL_MS = 1000;
/** A claim or a settle of eight messages costs the database hardly more than one of a single message. */
const LINGER_MESSAGES = 8;
const LINGER_FROM_PER_S = 10;
const LONGEST_LINGER_MS = 90;
const KEPT_BYTES = 4096;
const JUDGED_BYTES = 65536;

export type Step = "claim" | "settle" | "release";

export class QueueState {
  readonly id: number;
  readonly name: string;
  concurrency = 1;
  maxInFlight = 1;
  timeoutMs = 0;
  keptBytes = KEPT_BYTES;
  allowed: Network[] = [];
  allowedKey = "";
  tuner: ConcurrencyLimit | null = null;
  private fixedLingerMs: number | null = null;
  outstanding = 0;
  heldBytes = 0;
  unsettled: Answer[] = [];
  /** When its answers are settled at the latest; null while there are none. */
  settleBy: number | null = null;
  /** It has moved to another transport: what is under way is settled, and nothing more is claimed. */
  leaving = false;
  unsent: Answer[] = [];
  /** Until when a step that failed waits. */
  readonly held: Record<Step, number> = { claim: 0, settle: 0, release: 0 };
  /** Steps that are under way. */
  readonly running = new Set<Step>();
  pollAt = 0;
  private pollMs = SHORTEST_POLL_MS;
  private quietSince: number | null = null;
  private rate = 0;
  private counted = 0;
  private countedSince = performance.now();

  constructor(row: QueueRow) {
    this.id = row.id;
    this.name = row.name;
    this.takeOver(row);
  }

  /** Takes over settings that may have changed. */
  takeOver(row: QueueRow): void {
    this.maxInFlight = row.maxInFlight;
    this.timeoutMs = row.timeoutMs;
    this.keptBytes = row.expects ? JUDGED_BYTES : KEPT_BYTES;
    this.fixedLingerMs = row.lingerMs;
    const key = row.allowed.join(" ");
    if (key !== this.allowedKey) {
      this.allowedKey = key;
      this.allowed = networks(row.allowed);
    }
    if (row.auto) {
      this.tuner ??= new ConcurrencyLimit(row.maxInFlight);
      this.tuner.most = row.maxInFlight;
      this.concurrency = this.tuner.atOnce;
    } else {
      this.tuner = null;
      this.concurrency = row.concurrency;
    }
  }

  /**
   * Messages to hold: what can be under way at once, and what will start within a quarter of a second. That is bounded, for a fast
   * endpoint may turn slow: what cannot start within its lease then is handed back.
   */
  get capacity(): number {
    const ahead = Math.min(Math.floor(this.rate * AHEAD_S), Math.max(4 * this.concurrency, this.maxInFlight >> 1));
    return Math.min(this.concurrency + ahead, this.maxInFlight);
  }

  /**
   * How long a message may wait so that a claim or a settle carries more of them. Not while this worker alone fills the gate, for
   * then it waits for nothing but its own settle.
   */
  get lingerMs(): number {
    if (this.outstanding + this.unsettled.length >= this.maxInFlight) return 0;
    if (this.fixedLingerMs !== null) return this.fixedLingerMs;
    return this.rate < LINGER_FROM_PER_S ? 0 : Math.min(LONGEST_LINGER_MS, 1000 * LINGER_MESSAGES / this.rate);
  }

  /** What it may take of the bytes that all queues leave free: it holds at most as much as stays free. */
  roomBytes(freeBytes: number): number {
    return Math.max(0, freeBytes - this.heldBytes);
  }

  /** How many messages a claim may take now; 0 while it is not worth its cost. */
  room(freeBytes: number): number {
    const room = this.capacity - this.outstanding;
    if (room <= 0) return 0;
    if (this.outstanding === 0) return room;
    const bytes = this.roomBytes(freeBytes);
    return room >= Math.max(1, this.capacity >> 2) && 4 * bytes >= this.heldBytes + bytes ? room : 0;
  }

  get busy(): boolean {
    return this.outstanding > 0 || this.unsettled.length > 0 || this.unsent.length > 0;
  }

  /** Nothing was ready for a while, so that one look at all such queues is enough. */
  get quiet(): boolean {
    return this.quietSince !== null && performance.now() - this.quietSince >= AWAKE_MS;
  }

  countAnswer(): void {
    const now = performance.now();
    this.counted++;
    // Soon after it began, because an isolate does not live long.
    if (now - this.countedSince >= (this.rate === 0 ? 50 : 500)) {
      this.rate = this.counted / ((now - this.countedSince) / 1000);
      this.counted = 0;
      this.countedSince = now;
    }
  }

  sawWork(): void {
    this.pollAt = 0;
    this.pollMs = SHORTEST_POLL_MS;
    this.quietSince = null;
  }

  /** Stays awake, and looks again at once unless it lingers. */
  sawAnswers(): void {
    if (this.lingerMs > 0) this.quietSince = null;
    else this.sawWork();
  }

  sawNothing(): void {
    const now = performance.now();
    this.quietSince ??= now;
    this.pollAt = now + this.pollMs;
    this.pollMs = Math.min(this.pollMs * 1.5, now - this.quietSince < AWAKE_MS ? AWAKE_POLL_MS : LONGEST_POLL_MS);
  }
}
