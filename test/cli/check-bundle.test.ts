import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { currentCommit } from "#lib/bench/index.js";
import { temporaryFolders } from "../support/folders.js";
import { run } from "./support/cli.js";

const folder = temporaryFolders();

const report = z.object({
  passed: z.literal(true),
  versions: z.object({ commit: z.string().nullable() }),
  bench: z.array(z.object({ group: z.literal("copy") })).min(2),
});

describe("check --bundle", () => {
  const clone = join(import.meta.dirname, "../..");
  /** Runs the command with a folder for temporary files of its own. */
  const bundle = async (at: string, args: readonly string[]) => {
    const temporary = folder();
    const outcome = await run(["check", "--bundle", ...args], { cwd: at, before: `export TMPDIR='${temporary}'` });
    expect(readdirSync(temporary), "temporary files left behind").toEqual([]);
    return outcome;
  };

  test("packs what runs without Node on the path, in under 50 MB", async () => {
    const at = folder();
    const { code, stdout, stderr } = await bundle(at, ["check.tar.gz"]);
    expect(code, stderr).toBe(0);
    expect(stderr).toMatch(/^wrote check\.tar\.gz, [\d.]+ MB$/m);
    expect(stdout).toContain("tar -xf check.tar.gz && cd stepsize-check && ./stepsize check --bench");
    expect(statSync(join(at, "check.tar.gz")).size).toBeLessThan(50e6);

    execFileSync("tar", ["-xf", "check.tar.gz"], { cwd: at });
    const unpacked = join(at, "stepsize-check");
    const addons = existsSync(join(clone, "build-cuda/Release/cuda.node")) ? ["build", "build-cuda"] : ["build"];
    for (const name of addons) expect(readdirSync(join(unpacked, "package"))).toContain(name);
    expect(existsSync(join(unpacked, "package/bench/peers/torch_peer.py"))).toBe(true);
    expect(readFileSync(join(unpacked, "README"), "utf8")).toContain("./stepsize check --device cuda:0 --bench");
    // An environment without a PATH, and another working folder.
    const file = join(at, "report.json");
    const args = ["check", "--device", "cpu", "--stage", "bench", "--only", "copy", "--report", file];
    const there = spawnSync(join(unpacked, "stepsize"), args, { cwd: at, env: {}, encoding: "utf8" });
    expect(there.status, there.stderr).toBe(0);
    const { versions } = report.parse(JSON.parse(readFileSync(file, "utf8")));
    expect(versions.commit).toBe(currentCommit());
  });

  test.each([
    ["another ending", ["check.zip"], "--bundle: expected a name that ends with .tar.xz or .tar.gz"],
    ["a folder that does not exist", ["none/check.tar.gz"], "--bundle: expected a file in a writable folder"],
    ["another option", ["check.tar.gz", "--seconds", "5"], "--bundle: expected no other option, got --seconds"],
  ])("refuses %s and leaves nothing behind", async (_, args, message) => {
    const at = folder();
    const { code, stderr } = await bundle(at, args);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
    expect(readdirSync(at)).toEqual([]);
  });

  test("says which program is missing", async () => {
    const { code, stderr } = await run(["check", "--bundle", "check.tar.xz"], {
      cwd: folder(),
      before: "PATH=/nowhere",
    });
    expect(code).toBe(1);
    expect(stderr).toContain("--bundle needs the program xz: without it, use a name that ends with .tar.gz");
  });
});
