// Compiles sources and links an addon of them, two compilers at a time.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { root } from "./gyp.mjs";

const compiler = process.env.CXX ?? "c++";
const run = promisify(execFile);

/**
 * @param file the addon to make
 * @param includeFolder that of Node's headers
 * @param compilations `{ source, flags }`, in order of their expected length: the longest first
 * @param link flags of the link
 */
export async function compileAddon({ file, includeFolder, compilations, link }) {
  const folder = join(file, "..");
  mkdirSync(folder, { recursive: true });
  const objects = mkdtempSync(join(folder, "objects-"));
  try {
    const work = compilations.map(({ source, flags }, i) => {
      const object = join(objects, `${i}.o`);
      // As a system folder: the warnings that are errors here are not meant for Node's headers.
      const args = ["-fPIC", "-pthread", ...flags, "-isystem", includeFolder, "-c", source, "-o", object];
      return { args, object };
    });
    const waiting = [...work];
    const compileNext = async () => {
      for (let next = waiting.shift(); next; next = waiting.shift()) await run(compiler, next.args, { cwd: root });
    };
    await Promise.all([compileNext(), compileNext()]);
    const built = join(objects, "built.node");
    const inputs = work.map(({ object }) => object);
    await run(compiler, ["-shared", "-pthread", ...link, ...inputs, "-o", built], { cwd: root });
    renameSync(built, file);
  } catch (error) {
    console.error(error.stderr || error.message);
    process.exitCode = 1;
  } finally {
    rmSync(objects, { recursive: true, force: true });
  }
}
