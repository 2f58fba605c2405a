// Reads payloads and mutated ones; says how many ajv and zod refuse of each.
import Ajv from "npm:ajv@8/dist/2020.js";
import * as zod from "./payload.zod.ts";
import type { OrdersPayload as Typed } from "./payload.ts";

const lines = (file: string) => Deno.readTextFileSync(file).trim().split("\n").map((line) => JSON.parse(line));
const schema = JSON.parse(Deno.readTextFileSync("payload.schema.json"));
// deno-lint-ignore no-explicit-any
const ajv = new (Ajv as any)({ strict: false });
const accepts = ajv.compile(schema);
const refused = (rows: unknown[]) => ({
  ajv: rows.filter((row) => !accepts(row)).length,
  zod: rows.filter((row) => !zod.OrdersPayload.safeParse(row).success).length,
});
const good = lines("payloads.jsonl") as Typed[];
let read = 0;
for (const event of good) {
  if (event.operation === "INSERT" && event.truncated === undefined) read += event.record.i4 === null ? 0 : 1;
}
console.log(JSON.stringify({ good: refused(good), bad: refused(lines("mutated.jsonl")), read, first: ajv.errors }));
