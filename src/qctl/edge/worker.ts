/** The worker: claims what it can start, settles what has come, and ends when there is nothing to do or its time is used up. */
import type { Budget } from "./budget.ts";
import { BusyError, type Database, type Message, PassingError } from "./database.ts";
import { Guard } from "./guard.ts";
import { log } from "./log.ts";
import { QueueState, SHORTEST_POLL_MS, type Step } from "./queue.ts";
import { type Answer, REFUSED, type Request, Sender } from "./sender.ts";
import type { Settings } from "./settings.ts";

const SETTLE_BATCH = 500;
/** Enough to settle at once: more of them cost hardly less each. */
const SETTLE_AT = 100;
const SETTLE_WITHIN_MS = 10;
/** Less than the time by which a lease outlives a request that began as late as it may, whatever --linger says. */
const SETTLE_WAITS_MS = 250;
const HEARTBEAT_MS = 5_000;
const ALIVE_MS = 12_000;
const LOOK_MS = 1_000;
const BUSY_MS = 1_000;
const BROKEN_MS = 30_000;
const LONGEST_PAUSE_MS = 5_000;
const GRACE_MS = 10_000;

export type Reason = "idle" | "cpu" | "wall" | "stopped" | "shutdown" | "error";

export class Worker {
  private readonly sender: Sender;
  private readonly queues = new Map<string, QueueState>();
  private reason: Reason | null = null;
  private endsBy = Infinity;
  private freeBytes: number;
  private claimed = 0;
  private delivered = 0;
  private nextHeartbeat = 0;
  private nextLook = 0;
  private readAt = 0;
  private workedAt = performance.now();
  private pauseMs = 100;
  private wakeUp: (() => void) | null = null;
  private disturbed = false;
  private failure: PassingError | null = null;
  private readonly tasks = new Set<Promise<void>>();

  constructor(
    private readonly database: Database,
    private readonly workerId: string,
    private readonly budget: Budget,
    private readonly settings: Settings,
  ) {
    this.freeBytes = settings.maxBytes;
    this.sender = new Sender(new Guard(), () => {
      if (this.sender.ripe(SETTLE_AT)) this.wakeUp?.();
      else if (this.sender.pending === 1) setTimeout(() => this.wakeUp?.(), SETTLE_WITHIN_MS);
    });
  }

  /** Claims nothing more; what has not started is handed back, what is under way is settled. */
  retire(reason: Reason): void {
    if (this.reason !== null) return;
    this.reason = reason;
    log("info", "retire", { reason });
    this.endsBy = performance.now() + GRACE_MS;
    for (const queue of this.queues.values()) {
      this.endsBy = Math.max(this.endsBy, performance.now() + queue.timeoutMs + GRACE_MS);
      // What failed is tried once more.
      queue.held.settle = queue.held.release = 0;
      if (queue.unsettled.length > 0) queue.settleBy = performance.now();
    }
    this.sender.handBack();
    this.disturb();
  }

  /** Works until it retires; why it did. Never throws. */
  async run(): Promise<Reason> {
    log("info", "begin", { worker: this.workerId });
    while (this.reason === null || (this.busy() && performance.now() < this.endsBy)) {
      try {
        await this.step();
      } catch (error) {
        log("error", "stopped", { error: (error as Error).message });
        this.retire("error");
        await sleep(BUSY_MS);
      }
    }
    await this.finish();
    return this.reason ?? "error";
  }

  private async step(): Promise<void> {
    try {
      if (this.failure !== null) {
        const failure = this.failure;
        this.failure = null;
        throw failure;
      }
      if (performance.now() >= this.nextHeartbeat) await this.heartbeatUnlessLocked();
      await this.takeAnswers();
      this.reason ?? this.checkBudget();
      await this.look();
      for (const queue of this.queues.values()) {
        if (this.settleDue(queue)) this.start(queue, "settle", () => this.settle(queue));
        if (queue.unsent.length > 0) this.start(queue, "release", () => this.release(queue));
        if (this.claimable(queue)) this.start(queue, "claim", () => this.claim(queue));
      }
      this.pauseMs = 100;
      await this.wait();
    } catch (error) {
      if (!(error instanceof PassingError)) throw error;
      log("warning", "connection lost", { error: error.message });
      // Past its end it cannot settle any more: leases cover what is left.
      if (this.budget.leftS(this.settings) < -5) throw error;
      await sleep(this.pauseMs);
      this.pauseMs = Math.min(this.pauseMs * 2, LONGEST_PAUSE_MS);
    }
  }

  /** A lock on a table of qctl must not keep answers from being settled. */
  private async heartbeatUnlessLocked(): Promise<void> {
    try {
      await this.heartbeat();
    } catch (error) {
      if (!(error instanceof BusyError)) throw error;
      this.nextHeartbeat = performance.now() + BUSY_MS;
      log("warning", "a heartbeat waits for a lock", { ms: BUSY_MS, error: error.message });
    }
  }

  private async heartbeat(): Promise<void> {
    const before = performance.now();
    this.takeOver(await this.database.queues(), before);
    const [alive, goesOn] = await this.database.heartbeat(
      this.workerId,
      [...this.queues.keys()].sort(),
      this.claimed,
      this.budget.cpuMs(),
    );
    // Taken for gone: what it had claimed may be with another worker by now.
    if (!alive) this.sender.validSince = before;
    else this.sender.aliveUntil = before + ALIVE_MS;
    if (!goesOn) this.retire("stopped");
    this.nextHeartbeat = before + HEARTBEAT_MS;
    try {
      await this.database.upkeep();
    } catch (error) {
      if (error instanceof PassingError) throw error;
      log("warning", "upkeep is postponed", { error: (error as Error).message });
    }
  }

  private takeOver(rows: Awaited<ReturnType<Database["queues"]>>, at: number): void {
    this.readAt = at;
    const found = new Map(rows.map((row) => [row.name, row]));
    for (const queue of this.queues.values()) {
      const row = found.get(queue.name);
      // Answers of one that was dropped have no place any more; of one that moved they are settled first.
      if (row?.id !== queue.id || (!row.mine && !queue.busy)) this.queues.delete(queue.name);
      else queue.leaving = !row.mine;
    }
    for (const row of rows) {
      const queue = this.queues.get(row.name);
      if (queue === undefined) {
        if (row.mine) this.queues.set(row.name, new QueueState(row));
      } else {
        queue.takeOver(row);
        this.sender.setLimit(queue.name, queue.concurrency);
      }
    }
  }

  private async takeAnswers(): Promise<void> {
    const answers = this.sender.collect();
    if (answers.some((answer) => isRefusal(answer) && this.readAt < answer.request.claimedAt)) await this.readAgain();
    for (const answer of answers) {
      this.freeBytes += answer.message.size;
      const queue = this.queues.get(answer.request.queue);
      if (queue?.id !== answer.request.queueId) continue;
      queue.outstanding--;
      queue.heldBytes -= answer.message.size;
      // Refused by settings that have changed meanwhile, so it was not sent.
      if (!answer.sent || (isRefusal(answer) && queue.allowedKey !== answer.request.allowedKey)) {
        queue.unsent.push(answer);
        continue;
      }
      queue.countAnswer();
      this.tune(queue, answer);
      queue.unsettled.push(answer);
      queue.settleBy ??= performance.now() + Math.max(SETTLE_WITHIN_MS, Math.min(queue.lingerMs, SETTLE_WAITS_MS));
    }
  }

  /** Reads the settings anew. What came meanwhile is settled also if that fails. */
  private async readAgain(): Promise<void> {
    const before = performance.now();
    try {
      this.takeOver(await this.database.queues(), before);
    } catch (error) {
      log("warning", "settings are not read", { error: (error as Error).message });
    }
  }

  private tune(queue: QueueState, answer: Answer): void {
    if (queue.tuner === null) return;
    queue.tuner.note(answer.status, answer.durationMs ?? 0, answer.atOnce);
    if (queue.tuner.atOnce !== queue.concurrency) {
      queue.concurrency = queue.tuner.atOnce;
      this.sender.setLimit(queue.name, queue.concurrency);
    }
  }

  private checkBudget(): void {
    const limit = this.budget.exhausted(this.settings);
    if (limit !== null) this.retire(limit);
    // The next isolate takes what could not end in this one.
    else if ([...this.queues.values()].some((queue) => !queue.quiet && !this.hasTime(queue))) this.retire("wall");
    else if (this.busy()) this.workedAt = performance.now();
    else if (performance.now() - this.workedAt >= this.settings.idleS * 1000) this.retire("idle");
  }

  /** Whether a request of the queue that starts now can end before the isolate does, or the isolate is still young. */
  private hasTime(queue: QueueState): boolean {
    return this.budget.leftS(this.settings) >= Math.min(queue.timeoutMs / 1000 + 5, this.settings.wallS / 2);
  }

  /** Looks at all quiet queues with one statement, once a second. */
  private async look(): Promise<void> {
    if (this.reason !== null || performance.now() < this.nextLook) return;
    this.nextLook = performance.now() + LOOK_MS;
    const quiet = [...this.queues.values()].filter((queue) => queue.quiet);
    if (quiet.length === 0) return;
    const ready = new Set(await this.readyOf(quiet));
    for (const queue of quiet) if (ready.has(queue.name)) queue.sawWork();
  }

  private async readyOf(queues: QueueState[]): Promise<string[]> {
    try {
      return await this.database.readyQueues(queues.map((queue) => queue.name));
    } catch (error) {
      if (!(error instanceof BusyError)) throw error;
      return [];
    }
  }

  private mayClaim(queue: QueueState): boolean {
    return this.reason === null && !queue.leaving && !queue.quiet && queue.room(this.freeBytes) > 0 &&
      this.hasTime(queue);
  }

  private claimable(queue: QueueState): boolean {
    const now = performance.now();
    return now >= queue.pollAt && now >= queue.held.settle && this.mayClaim(queue);
  }

  private async claim(queue: QueueState): Promise<void> {
    const before = performance.now();
    const room = queue.room(this.freeBytes);
    const messages = await this.database.claim(queue.name, room, this.workerId, queue.roomBytes(this.freeBytes));
    if (messages.length === 0) {
      queue.sawNothing();
      return;
    }
    this.submit(queue, messages, before);
    queue.sawWork();
    queue.pollAt = messages.length === room ? 0 : performance.now() + Math.max(SHORTEST_POLL_MS, queue.lingerMs);
  }

  private submit(queue: QueueState, messages: Message[], before: number): void {
    const { name, id, keptBytes, allowed, allowedKey } = queue;
    const requests: Request[] = messages.map((message) => ({
      queue: name,
      queueId: id,
      message,
      claimedAt: before,
      leaseEnds: before + message.leaseMs,
      keptBytes,
      allowed,
      allowedKey,
    }));
    const size = messages.reduce((sum, message) => sum + message.size, 0);
    queue.outstanding += messages.length;
    queue.heldBytes += size;
    this.freeBytes -= size;
    this.claimed += messages.length;
    this.sender.submit(name, requests, queue.concurrency);
  }

  /** Many answers are settled at a time while more is coming, and at once when nothing is. */
  private settleDue(queue: QueueState): boolean {
    const count = queue.unsettled.length;
    const last = queue.outstanding === 0 && (queue.lingerMs === 0 || this.reason !== null);
    return count > 0 && (count >= SETTLE_AT || last || performance.now() >= (queue.settleBy ?? 0));
  }

  private async settle(queue: QueueState): Promise<void> {
    while (this.settleDue(queue)) {
      const batch = queue.unsettled.slice(0, SETTLE_BATCH);
      this.delivered += await this.database.settle(queue.name, batch);
      queue.unsettled.splice(0, batch.length);
      queue.settleBy = queue.unsettled.length > 0
        ? performance.now() + Math.max(SETTLE_WITHIN_MS, Math.min(queue.lingerMs, SETTLE_WAITS_MS))
        : null;
      queue.sawAnswers();
    }
  }

  private async release(queue: QueueState): Promise<void> {
    const batch = queue.unsent.slice();
    await this.database.release(queue.name, batch);
    queue.unsent.splice(0, batch.length);
    queue.sawWork();
  }

  /**
   * Begins one step for a queue beside the others, so that the database always has the next one. Its trouble holds up only itself: a
   * while for a lock, longer for anything else.
   */
  private start(queue: QueueState, name: Step, step: () => Promise<void>): void {
    if (queue.running.has(name) || performance.now() < queue.held[name]) return;
    queue.running.add(name);
    const task = step().catch((error) => this.hold(queue, name, error as Error)).finally(() => {
      queue.running.delete(name);
      this.tasks.delete(task);
      this.disturb();
    });
    this.tasks.add(task);
  }

  private hold(queue: QueueState, name: Step, error: Error): void {
    if (error instanceof PassingError) {
      this.failure ??= error;
      return;
    }
    const pauseMs = error instanceof BusyError ? BUSY_MS : BROKEN_MS;
    queue.held[name] = performance.now() + pauseMs;
    log("warning", "a step waits", { queue: queue.name, step: name, ms: pauseMs, error: error.message });
  }

  private disturb(): void {
    this.disturbed = true;
    this.wakeUp?.();
  }

  private busy(): boolean {
    for (const queue of this.queues.values()) if (queue.busy) return true;
    return this.tasks.size > 0;
  }

  private async wait(): Promise<void> {
    if (this.disturbed || (this.reason !== null && !this.busy())) {
      this.disturbed = false;
      return;
    }
    const now = performance.now();
    let until = Math.min(this.nextHeartbeat, now + LOOK_MS);
    if (this.reason === null) until = Math.min(until, this.nextLook);
    else until = Math.min(until, this.endsBy);
    // What came while it did something else.
    if (this.sender.pending > 0) until = Math.min(until, this.sender.ripe(SETTLE_AT) ? now : now + SETTLE_WITHIN_MS);
    for (const queue of this.queues.values()) {
      if (queue.unsettled.length > 0 && !queue.running.has("settle")) {
        until = Math.min(until, Math.max(queue.settleBy ?? now, queue.held.settle));
      }
      if (queue.unsent.length > 0 && !queue.running.has("release")) {
        until = Math.min(until, Math.max(now, queue.held.release));
      }
      if (this.mayClaim(queue) && !queue.running.has("claim")) {
        until = Math.min(until, Math.max(queue.pollAt, queue.held.claim, queue.held.settle));
      }
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.max(0, until - now));
      this.wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.wakeUp = null;
    this.disturbed = false;
  }

  /** Settles what has come and signs off. What is still under way keeps its lease. */
  private async finish(): Promise<void> {
    this.sender.handBack();
    await Promise.all(this.tasks);
    await this.takeAnswers();
    for (const queue of this.queues.values()) {
      try {
        queue.settleBy = 0;
        await this.settle(queue);
        if (queue.unsent.length > 0) await this.release(queue);
      } catch (error) {
        log("error", "is sent again", {
          queue: queue.name,
          messages: queue.unsettled.length,
          error: (error as Error).message,
        });
      }
    }
    const underWay = [...this.queues.values()].some((queue) => queue.outstanding > 0);
    const { reason, claimed, delivered } = this;
    const cpuMs = this.budget.cpuMs();
    try {
      const next = underWay
        ? "what is under way ends with its lease"
        : await this.database.end(this.workerId, reason ?? "error", claimed, cpuMs);
      log("info", "end", { worker: this.workerId, reason, claimed, delivered, cpu_ms: cpuMs, next });
    } catch (error) {
      log("error", "cannot sign off", { worker: this.workerId, error: (error as Error).message });
    }
    this.sender.close();
    await this.database.close();
  }
}

function isRefusal(answer: Answer): boolean {
  return answer.error?.startsWith(REFUSED) ?? false;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
