/** Settings, read from the environment of the function: `supabase secrets set --env-file supabase/.env.qctl`. */

export interface Settings {
  /** Connection string of a role that was granted `work`; the transaction pooler where there is one. */
  dsn: string;
  /** Keys of the secrets (whsec_…) that sign wakes, the current one and the one before. */
  wakeSecrets: string[];
  /** How the worker is called in `qctl status --workers`. */
  name: string;
  /** Seconds that an isolate may live: 150 on the Free plan, 400 on paid ones. */
  wallS: number;
  /** Milliseconds of CPU time after which the worker ends, of the 2,000 that an isolate has; 0 leaves that to the runtime. */
  cpuMs: number;
  /** Seconds without work after which the worker ends. */
  idleS: number;
  /** Bytes of payloads to hold at once. */
  maxBytes: number;
}

/** The settings, or what is wrong with them. */
export function readSettings(): Settings | string {
  const dsn = Deno.env.get("QCTL_DSN");
  if (!dsn) return "QCTL_DSN is not set: qctl edge wake writes it to supabase/.env.qctl";
  if (!/^postgres(ql)?:\/\//.test(dsn) || !URL.canParse(dsn.replace(/:\/\/([^@/?#]*@)?(?=[/?#]|$)/, "://localhost"))) {
    return "QCTL_DSN is not a connection URL: postgresql://USER:PASSWORD@HOST:6543/postgres";
  }
  const secrets = Deno.env.get("QCTL_WAKE_SECRET");
  if (!secrets) return "QCTL_WAKE_SECRET is not set: qctl edge wake writes it to supabase/.env.qctl";
  const region = Deno.env.get("SB_REGION") ?? "edge";
  const settings = {
    dsn,
    wakeSecrets: secrets.split(/[\s,]+/).filter(Boolean),
    name: `${region}:${(Deno.env.get("SB_EXECUTION_ID") ?? crypto.randomUUID()).slice(0, 8)}`,
    wallS: number("QCTL_WALL_S", 140),
    cpuMs: number("QCTL_CPU_MS", 1500),
    idleS: number("QCTL_IDLE_S", 60),
    maxBytes: number("QCTL_MAX_BYTES", 16 * 1024 * 1024),
  };
  const wrong = Object.entries(settings).find(([, value]) => typeof value === "number" && !(value >= 0));
  return wrong ? `${wrong[0]} is not a number` : settings;
}

function number(name: string, otherwise: number): number {
  const text = Deno.env.get(name);
  return text ? Number(text) : otherwise;
}
