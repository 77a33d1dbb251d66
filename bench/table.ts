/** `npx tsx bench/table.ts`: writes the figures of a results file into the README, between its two markers. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { format, type ResultsFile } from "./markdown.js";

const root = join(import.meta.dirname, "..");
const readme = join(root, "README.md");
const text = readFileSync(readme, "utf8");
const marker = /<!-- figures from (\S+) -->[\s\S]*?<!-- end of figures -->/;
const file = text.match(marker)?.[1];
if (!file) throw new Error("README.md: expected the marker <!-- figures from bench/results/<machine>.json -->");
const results = JSON.parse(readFileSync(join(root, file), "utf8")) as ResultsFile;
writeFileSync(
  readme,
  text.replace(marker, `<!-- figures from ${file} -->\n\n${format(results)}\n\n<!-- end of figures -->`),
);
