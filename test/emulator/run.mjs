// Runs kernel tests on the emulator, in every variant:
//
//   node test/emulator/run.mjs [--orders=all] [program.cc …]
//
// Without programs, it runs every *_test.cc under test/. In `npm test` each variant runs in one or two thread orders.
// --orders=all runs all orders in every variant, which takes longer for larger kernels. kernel_test.h describes the
// values of --orders.
import { readdirSync } from "node:fs";
import { resolve } from "node:path";
import { build, command, variants, whyNot } from "./build.mjs";

const args = process.argv.slice(2);
const orders = args.filter((argument) => argument.startsWith("--orders="));
const named = args.filter((argument) => !argument.startsWith("--"));
const unknown = args.filter((argument) => argument.startsWith("--") && !orders.includes(argument));
if (unknown.length > 0) {
  console.error(`unknown option ${unknown[0]}; the only one is --orders=`);
  process.exit(2);
}

async function report(source, variant) {
  const title = `${source} (${variant})`;
  const reason = whyNot(variant);
  if (reason) return console.log(`skipped  ${title}: ${reason}`);
  const program = await build(source, variant);
  const { status, output, seconds } = await command(program, orders);
  console.log(
    `${status === 0 ? "passed " : "FAILED "}  ${title}: ${output.trim().split("\n").at(-1)}, ${seconds.toFixed(2)} s`,
  );
  if (status !== 0) console.log(output);
  if (status !== 0) process.exitCode = 1;
}

const found = readdirSync(resolve(import.meta.dirname, ".."), { recursive: true })
  // The programs in ptx/ belong to the PTX interpreter, not to the emulator.
  .filter((name) => name.endsWith("_test.cc") && !name.startsWith("ptx/"))
  .map((name) => `test/${name}`);
const sources = named.length > 0 ? named : found;
await Promise.all(sources.flatMap((source) => Object.keys(variants).map((variant) => report(source, variant))));
