// Injects all faults. This takes up to half an hour, too long for `npm test`:
//
//   npm run test:faults [-- --fresh] [name …]
//
// The names are those in the table. After every part, node_modules/.stepsize/faults.json records what was injected.
// Recorded parts are not injected again until the compiled library, an addon or an injection changes. --fresh discards
// the record.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { filesUnder, fingerprint } from "../../scripts/fingerprint.mjs";
import type { Damage } from "./damage.js";
import { type Injection, injections } from "./injections.js";

const root = resolve(import.meta.dirname, "../..");
const recordPath = join(root, "node_modules/.stepsize/faults.json");

interface Part extends Damage {
  readonly seconds: number;
}

/** The parts that were injected without a loss, by name and first number. */
class Records {
  readonly #key: string;
  readonly #parts: { [title: string]: Part };

  constructor(key: string) {
    const kept = existsSync(recordPath) ? JSON.parse(readFileSync(recordPath, "utf8")) : undefined;
    this.#key = key;
    this.#parts = kept?.key === key ? kept.parts : {};
  }

  async of({ name, inject }: Injection, from: number, to: number): Promise<Part> {
    const title = `${name} ${from}`;
    const before = this.#parts[title];
    if (before !== undefined) return before;
    const began = performance.now();
    const { injected, lost } = await inject(from, to);
    const part = { injected, lost, seconds: (performance.now() - began) / 1000 };
    for (const line of lost) console.log(`  LOST  ${line}`);
    // Parts with a loss are injected again next time.
    if (lost.length === 0) this.#keep(title, part);
    return part;
  }

  #keep(title: string, part: Part): void {
    this.#parts[title] = part;
    mkdirSync(dirname(recordPath), { recursive: true });
    writeFileSync(recordPath, `${JSON.stringify({ key: this.#key, parts: this.#parts }, null, 1)}\n`);
  }
}

/** Injects all faults of a kind, and returns its row of the table. */
async function injectAll(injection: Injection, records: Records): Promise<readonly string[]> {
  const { name, what, count = Number.POSITIVE_INFINITY, part } = injection;
  const reason = injection.whyNot?.();
  if (reason !== undefined) {
    console.log(`${name}: skipped, ${reason}`);
    return [name, "skipped", "", ""];
  }
  console.log(`${name}: ${what}`);
  const total = { injected: 0, lost: 0, seconds: 0 };
  for (let from = 0; from < count; from += part) {
    const { injected, lost, seconds } = await records.of(injection, from, Math.min(from + part, count));
    total.injected += injected;
    total.lost += lost.length;
    total.seconds += seconds;
    if (injected === 0 && count === Number.POSITIVE_INFINITY) break;
    console.log(`  ${total.injected} injected, ${total.lost} lost`);
  }
  if (total.lost > 0) process.exitCode = 1;
  return [name, String(total.injected), String(total.lost), (total.seconds / 60).toFixed(1)];
}

const args = process.argv.slice(2);
const named = args.filter((argument) => !argument.startsWith("--"));
const unknown = [
  ...args.filter((argument) => argument.startsWith("--") && argument !== "--fresh"),
  ...named.filter((name) => !injections.some((injection) => injection.name === name)),
];
if (unknown.length > 0) {
  const names = injections.map(({ name }) => `"${name}"`).join(", ");
  console.error(`unknown argument "${unknown[0]}"; expected --fresh or one of ${names}`);
  process.exit(2);
}
if (args.includes("--fresh")) rmSync(recordPath, { force: true });

const files = ["build/Release", "dist", "test/faults", "test/native/support"].flatMap((folder) =>
  filesUnder(folder, /\.(node|js|ts|mjs|c|cc|h)$/),
);
const records = new Records(fingerprint(files));
const table: (readonly string[])[] = [["fault", "injected", "lost", "minutes"]];
for (const injection of injections)
  if (named.length === 0 || named.includes(injection.name)) table.push(await injectAll(injection, records));

const widths = [0, 1, 2, 3].map((column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
console.log();
for (const row of table)
  console.log(row.map((text, i) => (i === 0 ? text.padEnd(widths[i] ?? 0) : text.padStart(widths[i] ?? 0))).join("  "));
