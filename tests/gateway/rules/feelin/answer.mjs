// Answers rows of [cell, input, name → expression] with feelin: true, false, null, or "error".
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const { evaluate, unaryTest } = await import(pathToFileURL(join(process.argv[2], "dist", "index.js")));
const rows = JSON.parse(readFileSync(0, "utf8"));
const answers = rows.map(([cell, input, names]) => {
  try {
    const context = { "?": evaluate(input, {}).value };
    for (const [name, text] of Object.entries(names)) context[name] = evaluate(text, {}).value;
    const found = unaryTest(cell, context).value;
    return found === undefined ? null : found;
  } catch {
    return "error";
  }
});
process.stdout.write(JSON.stringify(answers));
