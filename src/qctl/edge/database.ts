/** The database: every SQL call of the worker, over one connection that may go through a transaction pooler. */
import { connect as open, type Socket } from "node:net";
import postgres from "postgres";
import { log } from "./log.ts";
import { VERSION } from "./version.ts";
import type { Answer } from "./sender.ts";

const ANSWER_WITHIN_MS = 30_000;
const CONNECT_WITHIN_S = 8;

/** A queue, as far as a worker must know it. */
export interface QueueRow {
  id: number;
  name: string;
  /** Whether its transport is http. */
  mine: boolean;
  concurrency: number;
  auto: boolean;
  maxInFlight: number;
  timeoutMs: number;
  expects: boolean;
  allowed: string[];
  /** Null: by the rate. */
  lingerMs: number | null;
}

/** A claimed message: everything that its request needs. `size` is that of its body in bytes. */
export interface Message {
  id: string;
  lease: string;
  leaseMs: number;
  url: string;
  timeoutMs: number;
  headers: Record<string, string>;
  body: string;
  size: number;
}

/** The schema of qctl in the database is older than this function, or is not there. */
export class SchemaError extends Error {}

/** The connection was lost, or the server is not available: what failed can be tried again. */
export class PassingError extends Error {}

/** A lock was held for too long. */
export class BusyError extends Error {}

export class Database {
  private sql: postgres.Sql;
  private pooled = true;
  private lost = false;
  /** Attempts to connect since the last answer. */
  private tries = 0;

  constructor(private readonly dsn: string) {
    this.sql = this.connect();
  }

  /** Begins the worker of a wake; null if the wake is unknown or was used. */
  async begin(wakeId: string, name: string): Promise<string | null> {
    const greeted = await this.run("select pg_backend_pid()", []);
    // Behind a pooler the process that answers is not the one that greeted.
    this.pooled = Number(greeted[0]![0]) !== (greeted as unknown as { state: { pid: number } }).state.pid;
    const rows = await this.run("select qctl.begin_edge_worker($1::uuid, $2, $3, $4::boolean, '{http}')", [
      wakeId,
      name,
      VERSION,
      String(this.pooled),
    ]);
    return rows[0]![0] as string | null;
  }

  /** Reports that the worker lives; whether it is still registered, and whether it is to go on. */
  async heartbeat(workerId: string, queues: string[], claimed: number, cpuMs: number): Promise<[boolean, boolean]> {
    // A locked table must not hold up the others. Behind a pooler the role has these settings, because no session keeps them.
    const settings = this.pooled
      ? ""
      : ", set_config('lock_timeout', '1s', false), set_config('statement_timeout', '10s', false)";
    const rows = await this.run(
      `select alive, goes_on${settings} from qctl.edge_heartbeat($1::bigint, $2::text[], $3::bigint, $4::bigint)`,
      [workerId, array(queues), String(claimed), String(cpuMs)],
    );
    return [rows[0]![0], rows[0]![1]] as [boolean, boolean];
  }

  /** Lapses expired leases and those of silent workers; one worker at a time does it. */
  async upkeep(): Promise<void> {
    await this.run("select from qctl.upkeep()", []);
  }

  /** All queues, whatever their transport. */
  async queues(): Promise<QueueRow[]> {
    const rows = await this.run(
      `select queue_id, queue_name, transport = 'http', concurrency, concurrency_auto, max_in_flight, timeout_ms, expects,
              to_jsonb(allow_networks), linger_ms
       from qctl.work_queues()`,
      [],
    );
    return rows.map(([id, name, mine, concurrency, auto, maxInFlight, timeoutMs, expects, allowed, lingerMs]) =>
      ({ id, name, mine, concurrency, auto, maxInFlight, timeoutMs, expects, allowed, lingerMs }) as QueueRow
    );
  }

  /** Those of these queues that have a ready message. */
  async readyQueues(queues: string[]): Promise<string[]> {
    const rows = await this.run("select * from qctl.ready_queues($1::text[])", [array(queues)]);
    return rows.map((row) => row[0] as string);
  }

  /** Leases up to `limit` ready messages of together `maxBytes`, but always one. */
  async claim(queue: string, limit: number, workerId: string, maxBytes: number): Promise<Message[]> {
    const rows = await this.run(
      `select msg_id, lease, lease_ms, url, timeout_ms, headers, body, octet_length(body)
       from qctl.claim($1, $2::integer, $3::bigint, $4::bigint)`,
      [queue, String(limit), workerId, String(Math.floor(maxBytes))],
    );
    return rows.map(([id, lease, leaseMs, url, timeoutMs, headers, body, size]) =>
      ({ id, lease, leaseMs, url, timeoutMs, headers, body, size }) as Message
    );
  }

  /** Settles answers; how many messages were delivered. */
  async settle(queue: string, answers: Answer[]): Promise<number> {
    const column = (value: (answer: Answer) => string | number | null) => array(answers.map(value));
    const rows = await this.run(
      `select delivered from qctl.settle($1, $2::uuid[], $3::bigint[], $4::integer[], $5::text[], $6::bytea[], $7::integer[], $8::integer[])`,
      [
        queue,
        column((answer) => answer.message.lease),
        column((answer) => answer.message.id),
        column((answer) => answer.status),
        column((answer) => answer.error),
        column((answer) => answer.kept === null ? null : hex(answer.kept)),
        column((answer) => answer.durationMs),
        column((answer) => answer.retryAfterS),
      ],
    );
    return rows[0]![0] as number;
  }

  /** Gives back messages that were claimed and not sent; no attempt is spent. */
  async release(queue: string, answers: Answer[]): Promise<void> {
    await this.run("select qctl.release($1, $2::uuid[], $3::bigint[])", [
      queue,
      array(answers.map((answer) => answer.message.lease)),
      array(answers.map((answer) => answer.message.id)),
    ]);
  }

  /** Ends the worker; what became of the next wake. */
  async end(workerId: string, reason: string, claimed: number, cpuMs: number): Promise<string> {
    const rows = await this.run("select qctl.end_edge_worker($1::bigint, $2, $3::bigint, $4::bigint)", [
      workerId,
      reason,
      String(claimed),
      String(cpuMs),
    ]);
    return rows[0]![0] as string;
  }

  async close(): Promise<void> {
    await this.sql.end({ timeout: 1 }).catch(() => {});
  }

  private connect(): postgres.Sql {
    const { url, host, local } = connectionUrl(this.dsn);
    const options: object = {
      ...(host === null ? {} : { host }),
      ...(local || /[?&]sslmode=/.test(url) ? {} : { ssl: "require" as const }),
      max: 1,
      // A transaction pooler keeps neither prepared statements nor settings of a session.
      prepare: false,
      fetch_types: false,
      connect_timeout: CONNECT_WITHIN_S,
      backoff: () => 1,
      onnotice: () => {},
      onclose: () => (this.lost = true),
      socket: ({ host, port, path }: { host: string[]; port: number[]; path?: string | false }) =>
        this.open(path || { host: host[0]!, port: port[0]! }),
      connection: { application_name: "qctl edge" },
    };
    return postgres(url, options);
  }

  /** A connected socket. After the first attempt with a pause, which the library leaves out when a server accepts and closes. */
  private async open(to: string | { host: string; port: number }): Promise<Socket> {
    const pauseMs = this.tries === 0 ? 0 : Math.min(5_000, 100 * 2 ** this.tries);
    this.tries++;
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    return await new Promise((resolve, reject) => {
      const socket = typeof to === "string" ? open(to) : open(to);
      const timer = setTimeout(() => socket.destroy(new Error("no connection within 8 s")), CONNECT_WITHIN_S * 1000);
      socket.once("connect", () => {
        clearTimeout(timer);
        resolve(socket);
      });
      socket.once("error", (error) => {
        clearTimeout(timer);
        reject(error);
      });
    });
  }

  /** Rows as arrays; bigint as text. */
  private async run(text: string, values: (string | null)[]): Promise<unknown[][]> {
    const sql = this.sql;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new PassingError("the database did not answer within 30 s")), ANSWER_WITHIN_MS);
    });
    try {
      const rows = sql.unsafe(text, values).values();
      const found = await Promise.race([rows, late]) as unknown as unknown[][];
      this.tries = 0;
      if (this.lost) {
        this.lost = false;
        log("info", "connected again");
      }
      return found;
    } catch (error) {
      if (error instanceof PassingError) {
        if (this.sql === sql) this.sql = this.connect();
        void sql.end({ timeout: 1 }).catch(() => {});
        throw error;
      }
      throw translated(error as Error & { code?: string });
    } finally {
      clearTimeout(timer);
    }
  }
}

/** A URL as libpq takes it: the host may be missing, or stand behind the question mark as the folder of a socket. */
export function connectionUrl(dsn: string): { url: string; host: string | null; local: boolean } {
  const url = new URL(dsn.replace(/^(\w+:\/\/(?:[^@/?#]*@)?)(?=[/?#]|$)/, "$1localhost"));
  const host = url.searchParams.get("host");
  url.searchParams.delete("host");
  return { url: url.href, host, local: host !== null || ["localhost", "127.0.0.1", "[::1]"].includes(url.hostname) };
}

function translated(error: Error & { code?: string }): Error {
  const code = error.code ?? "";
  if (error.name !== "PostgresError" || /^(08|53|57P)/.test(code)) return new PassingError(error.message || code);
  if (code === "55P03" || code === "57014" || code === "40P01" || code === "40001") return new BusyError(error.message);
  if (code === "3F000" || code === "42883") {
    return new SchemaError(`${error.message}; is qctl installed and as new as this function? qctl upgrade`);
  }
  return error;
}

/** An array as PostgreSQL writes it. */
function array(values: (string | number | null)[]): string {
  return `{${
    values.map((value) => value === null ? "NULL" : typeof value === "number" ? value : quoted(value)).join(",")
  }}`;
}

function quoted(value: string): string {
  return `"${value.replace(/[\\"]/g, "\\$&")}"`;
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

function hex(bytes: Uint8Array): string {
  let text = "\\x";
  for (const byte of bytes) text += HEX[byte];
  return text;
}
