/** Logs: one line of JSON for each event. Never a payload, a header, an answer or a secret. */

export function log(level: "info" | "warning" | "error", event: string, details: Record<string, unknown> = {}): void {
  const line = JSON.stringify({ level, event, ...details });
  if (level === "error") console.error(line);
  else console.log(line);
}
