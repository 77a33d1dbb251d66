// Compiles sources and links addons of them, two compilers at a time.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { root } from "./gyp.mjs";

const compiler = process.env.CXX ?? "c++";
const run = promisify(execFile);

/**
 * Compiles sources once each, and links products that share their objects.
 *
 * @param includeFolder that of Node's headers
 * @param compilations `{ source, flags, part }`, in order of their expected length: the longest first
 * @param products `{ file, parts, link }`: the file to make, the parts that are linked into it, and flags of the link
 */
export async function compileProducts({ includeFolder, compilations, products }) {
  const folder = join(products[0].file, "..");
  mkdirSync(folder, { recursive: true });
  const objects = mkdtempSync(join(folder, "objects-"));
  try {
    const work = compilations.map(({ source, flags, part }, i) => {
      const object = join(objects, `${i}.o`);
      // As a system folder: the warnings that are errors here are not meant for Node's headers.
      const args = ["-fPIC", "-pthread", ...flags, "-isystem", includeFolder, "-c", source, "-o", object];
      return { args, object, part };
    });
    const waiting = [...work];
    const compileNext = async () => {
      for (let next = waiting.shift(); next; next = waiting.shift()) await run(compiler, next.args, { cwd: root });
    };
    await Promise.all([compileNext(), compileNext()]);
    for (const { file, parts, link } of products) {
      const built = join(objects, "built");
      const inputs = work.filter(({ part }) => parts.includes(part)).map(({ object }) => object);
      await run(compiler, ["-pthread", ...link, ...inputs, "-ldl", "-o", built], { cwd: root });
      mkdirSync(join(file, ".."), { recursive: true });
      renameSync(built, file);
    }
  } catch (error) {
    console.error(error.stderr || error.message);
    process.exitCode = 1;
  } finally {
    rmSync(objects, { recursive: true, force: true });
  }
}

/** An addon of all sources: its file, and flags of its link; else as {@link compileProducts}. */
export async function compileAddon({ file, includeFolder, compilations, link }) {
  await compileProducts({
    includeFolder,
    compilations: compilations.map((compilation) => ({ ...compilation, part: "addon" })),
    products: [{ file, parts: ["addon"], link: ["-shared", ...link] }],
  });
}
