/** Posts requests with fetch(), so many at once per queue, and collects what came of them. */
import { type Guard, type Network } from "./guard.ts";
import type { Message } from "./database.ts";
import { VERSION } from "./version.ts";

const MOST_BYTES = 1 << 20;
const LOOK_MS = 50;
export const REFUSED = "refused: ";

/** A claimed message on its way; times are of performance.now(). `allowed` are networks beside the public ones. */
export interface Request {
  queue: string;
  queueId: number;
  message: Message;
  claimedAt: number;
  leaseEnds: number;
  keptBytes: number;
  allowed: Network[];
  allowedKey: string;
}

/** What came of a request. `sent` is false when it was never started, so it costs no attempt. */
export interface Answer {
  request: Request;
  message: Message;
  sent: boolean;
  status: number | null;
  error: string | null;
  kept: Uint8Array | null;
  durationMs: number | null;
  retryAfterS: number | null;
  atOnce: number;
}

interface Line {
  limit: number;
  waiting: (Request | undefined)[];
  next: number;
  active: number;
}

export class Sender {
  /** No request starts after this, because another worker may hold its message then. */
  aliveUntil = 0;
  /** No request starts that was claimed before this. */
  validSince = 0;
  private readonly lines = new Map<string, Line>();
  private readonly deadlines = new Map<AbortController, number>();
  private answers: Answer[] = [];
  private readonly watch: ReturnType<typeof setInterval>;
  private handingBack = false;

  private starving = false;

  /** @param wake called when an answer has come */
  constructor(private readonly guard: Guard, private readonly wake: () => void) {
    this.watch = setInterval(() => this.abortLate(), LOOK_MS);
  }

  submit(queue: string, requests: Request[], limit: number): void {
    const line = this.line(queue);
    line.limit = limit;
    line.waiting.push(...requests);
    this.fill(line);
  }

  setLimit(queue: string, limit: number): void {
    const line = this.line(queue);
    line.limit = limit;
    this.fill(line);
  }

  /** Hands back what has not started, now and from now on. */
  handBack(): void {
    this.handingBack = true;
    for (const line of this.lines.values()) this.fill(line);
  }

  /** Answers that wait to be collected. */
  get pending(): number {
    return this.answers.length;
  }

  /** Whether it is time to collect: so many answers wait, or a queue has nothing more to send. */
  ripe(most: number): boolean {
    return this.starving || this.answers.length >= most;
  }

  collect(): Answer[] {
    const found = this.answers;
    this.starving = false;
    this.answers = [];
    return found;
  }

  close(): void {
    clearInterval(this.watch);
  }

  private line(queue: string): Line {
    let line = this.lines.get(queue);
    if (line === undefined) this.lines.set(queue, line = { limit: 1, waiting: [], next: 0, active: 0 });
    return line;
  }

  private fill(line: Line): void {
    while (line.next < line.waiting.length && (line.active < line.limit || this.handingBack)) {
      const request = line.waiting[line.next]!;
      // What is sent must not be kept: under load this line never runs empty.
      line.waiting[line.next++] = undefined;
      if (this.mayStart(request)) void this.post(line, request);
      else this.give(line, unsent(request));
    }
    if (line.next === line.waiting.length || line.next > 1000) {
      line.waiting.splice(0, line.next);
      line.next = 0;
    }
  }

  private mayStart(request: Request): boolean {
    const now = performance.now();
    return !this.handingBack && now < this.aliveUntil && request.claimedAt >= this.validSince &&
      now + request.message.timeoutMs + 500 < request.leaseEnds;
  }

  private async post(line: Line, request: Request): Promise<void> {
    const { message } = request;
    const answer: Answer = { ...unsent(request), sent: true, atOnce: ++line.active };
    const controller = new AbortController();
    const began = performance.now();
    this.deadlines.set(controller, began + message.timeoutMs);
    try {
      const refusal = await this.guard.refusal(message.url, request.allowed, request.allowedKey);
      if (refusal !== null) {
        answer.error = `${REFUSED}${refusal}; to allow it: qctl set -q ${request.queue} --allow-private`;
      } else {
        const response = await fetch(message.url, {
          method: "POST",
          headers: headerList(message.headers),
          body: message.body,
          redirect: "manual",
          signal: controller.signal,
        });
        answer.status = response.status;
        answer.kept = await firstBytes(response, request.keptBytes);
        // Of a 200 too, for it may not be the answer that the queue expects.
        const asked = response.headers.get("retry-after");
        if (asked !== null) answer.retryAfterS = retryAfterSeconds(asked);
      }
    } catch (error) {
      answer.error = controller.signal.aborted
        ? `no complete answer within ${message.timeoutMs} ms`
        : reason(error as Error, message.url);
      if (answer.status !== null) answer.error += ` (after status ${answer.status})`;
      answer.status = null;
    }
    this.deadlines.delete(controller);
    answer.durationMs = Math.round(performance.now() - began);
    line.active--;
    this.give(line, answer);
    this.fill(line);
  }

  private give(line: Line, answer: Answer): void {
    this.answers.push(answer);
    this.starving ||= line.next === line.waiting.length;
    this.wake();
  }

  private abortLate(): void {
    const now = performance.now();
    for (const [controller, deadline] of this.deadlines) if (deadline <= now) controller.abort();
  }
}

function unsent(request: Request): Answer {
  return {
    request,
    message: request.message,
    sent: false,
    status: null,
    error: null,
    kept: null,
    durationMs: null,
    retryAfterS: null,
    atOnce: 0,
  };
}

const ASCII = /^[\x20-\x7e]*$/;

/** As the worker process sends them: values in UTF-8, which fetch() takes as one character for each byte. */
function headerList(headers: Record<string, string>): Record<string, string> {
  const list: Record<string, string> = {
    "content-type": "application/json",
    "user-agent": `qctl/${VERSION}`,
    accept: "*/*",
  };
  for (const name in headers) {
    const value = headers[name]!;
    list[name] = ASCII.test(value) ? value : String.fromCharCode(...new TextEncoder().encode(value));
  }
  return list;
}

/** The first bytes of an answer; of one that is longer than 1 MiB the rest is not read. */
async function firstBytes(response: Response, most: number): Promise<Uint8Array> {
  if (response.body === null) return new Uint8Array();
  const length = Number(response.headers.get("content-length") ?? NaN);
  if (length <= 65536 && !response.headers.has("content-encoding")) {
    const bytes = new Uint8Array(await response.arrayBuffer());
    return bytes.length > most ? bytes.slice(0, most) : bytes;
  }
  const kept: Uint8Array[] = [];
  let seen = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (seen < most) kept.push(value.slice(0, most - seen));
    seen += value.length;
    if (seen > MOST_BYTES) {
      void reader.cancel().catch(() => {});
      break;
    }
  }
  const bytes = new Uint8Array(kept.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of kept) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Seconds that a Retry-After header asks for, in either form of RFC 9110 section 10.2.3; null for anything else. */
export function retryAfterSeconds(value: string): number | null {
  const text = value.trim();
  const seconds = /^\d+$/.test(text) ? Number(text.slice(0, 10)) : Math.floor((Date.parse(text) - Date.now()) / 1000);
  return Number.isNaN(seconds) ? null : Math.max(0, Math.min(seconds, 2 ** 31 - 1));
}

function hostOf(url: string): string {
  // What PostgreSQL takes for a URL need not be one here.
  return URL.canParse(url)
    ? new URL(url).host
    : url.replace(/^[a-z]+:\/\//i, "").replace(/[/?#].*$/s, "").replace(/^.*@/, "");
}

/** Why a request failed, without its URL, which may hold a secret, and without the addresses, which say nothing. */
function reason(error: Error, url: string): string {
  let text = error.message;
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause) text += `: ${cause.message}`;
  const host = hostOf(url);
  const [, kind, rest] = text.match(/client error \((\w+)\):? ?(.*)$/s) ?? [undefined, "", text];
  text = rest.replaceAll(url, host);
  if (/dns error|failed to lookup|getaddrinfo/i.test(text)) text = `could not resolve ${host}: ${text}`;
  else if (kind === "Connect") text = `could not connect to ${host}: ${text}`;
  else if (/closed before message completed/.test(text)) text = `no complete reply: ${text}`;
  else if (/invalid HTTP/i.test(text)) text = `the answer is not HTTP: ${text}`;
  // The log of attempts takes what every encoding of a database has.
  return text.replaceAll(/[^\x20-\x7e]/g, "?").slice(0, 500);
}
