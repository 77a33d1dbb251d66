import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { listDevices } from "#lib/native/index.js";
import { lastLine, run } from "./support/cli.js";

test("info --json has the facts that the library reports", async () => {
  const { code, stdout } = await run(["info", "--json"]);
  expect(code).toBe(0);
  const facts = lastLine(stdout);
  const [cpu] = listDevices();
  expect(facts).toMatchObject({
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    kernels: cpu?.facts["kernels"],
    threads: Number(cpu?.facts["threads"]),
  });
  expect(facts.addons.map(({ name }: { name: string }) => name)).toEqual(["cpu", "cuda"]);
  for (const { lookedAt, loaded, problem } of facts.addons) {
    expect(lookedAt.length).toBeGreaterThan(1);
    // Either it was loaded from one of the places, or there is a reason.
    if (loaded === null) expect(problem).toMatch(/\w/);
    else expect(lookedAt).toContain(loaded);
  }
  expect(existsSync(facts.addons[0].loaded)).toBe(true);
  if (facts.kernels === "avx512") expect(facts.vectorExtensions).toContain("avx512f");
  if (facts.kernels === "avx2") expect(facts.vectorExtensions).toContain("avx2");
  if (facts.kernels === "neon") expect(facts.vectorExtensions).toContain("asimd");
});

test("info prints them as text", async () => {
  const { code, stdout } = await run(["info"]);
  expect(code).toBe(0);
  for (const name of ["stepsize", "node", "cpu", "vectors", "kernels", "threads", "addon", "device"])
    expect(stdout).toMatch(new RegExp(`^${name} +\\S`, "m"));
  expect(stdout).toMatch(/^addon {6}cuda: /m);
});

test("the number of threads is the number of CPUs that the process may use", async () => {
  const { stdout } = await run(["info", "--json"], { before: 'exec taskset -c 0 "$@"; :' });
  expect(lastLine(stdout).threads).toBe(1);
});
