/**
 * Verifies that a wake is from the database: Standard Webhooks 1.0.0 (https://www.standardwebhooks.com), symmetric signatures,
 * HMAC-SHA256 over "id.timestamp.body". That a wake begins one worker only is checked in the database, by its id.
 */

const TOLERANCE_S = 300;
const MAX_BODY = 4096;
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** A wake: its id, or why it is refused. */
export type Wake = { id: string } | { refused: string };

export async function readWake(request: Request, secrets: string[]): Promise<Wake> {
  const id = request.headers.get("webhook-id");
  const stamp = request.headers.get("webhook-timestamp");
  const signatures = request.headers.get("webhook-signature");
  if (id === null || stamp === null || signatures === null) return { refused: "the request is not signed" };
  if (!ID.test(id) || !/^\d{1,12}$/.test(stamp)) return { refused: "the signed headers are not valid" };
  if (Math.abs(Date.now() / 1000 - Number(stamp)) > TOLERANCE_S) {
    return { refused: "the signature is too old or too new" };
  }
  const body = await shortText(request);
  if (body === null) return { refused: "the body is too large" };
  const signed = new TextEncoder().encode(`${id}.${stamp}.${body}`);
  const given = signatures.split(" ").slice(0, 8).flatMap((part) =>
    part.startsWith("v1,") ? bytes(part.slice(3)) ?? [] : []
  );
  for (const secret of secrets) {
    const raw = bytes(secret.replace(/^(v1,)?whsec_/, ""));
    if (raw === null || raw.length === 0) continue;
    const key = await crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
    for (const signature of given) {
      // Compared in constant time.
      if (await crypto.subtle.verify("HMAC", key, signature, signed)) return { id };
    }
  }
  return { refused: "the signature does not match QCTL_WAKE_SECRET" };
}

/** The body, of which no more is read than a wake has; null if it has more. */
async function shortText(request: Request): Promise<string | null> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of request.body ?? []) {
    size += part.length;
    if (size > MAX_BODY) return null;
    parts.push(part);
  }
  return new TextDecoder().decode(await new Blob(parts as Uint8Array<ArrayBuffer>[]).arrayBuffer());
}

function bytes(base64: string): Uint8Array<ArrayBuffer> | null {
  try {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch {
    return null;
  }
}
