// The parser of AsyncAPI itself reads the document.
import { Parser } from "npm:@asyncapi/parser@3";

const { document, diagnostics } = await new Parser().parse(Deno.readTextFileSync("payload.asyncapi.json"));
const errors = diagnostics.filter((one) => one.severity === 0).map((one) => `${one.path.join(".")}: ${one.message}`);
console.log(JSON.stringify({ errors, messages: document?.allMessages().all().length ?? 0 }));
Deno.exit(0);
