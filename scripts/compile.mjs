// Compiles sources and links addons from them, with two compilers at a time or as many as JOBS says.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { root } from "./gyp.mjs";

const compiler = process.env.CXX ?? "c++";
const jobs = Number(process.env.JOBS ?? 2);
const run = promisify(execFile);

/**
 * Compiles each source once, and links products that share the objects.
 *
 * @param includeFolder folder of Node's headers
 * @param compilations `{ source, flags, part }`, sorted by expected duration: the longest first
 * @param products `{ file, parts, link }`: the output file, the parts that are linked into it, and linker flags
 */
export async function compileProducts({ includeFolder, compilations, products }) {
  const folder = join(products[0].file, "..");
  mkdirSync(folder, { recursive: true });
  const objects = mkdtempSync(join(folder, "objects-"));
  try {
    const work = compilations.map(({ source, flags, part }, i) => {
      const object = join(objects, `${i}.o`);
      // Passed as a system folder, because warnings are errors here and should not apply to Node's headers.
      const args = ["-fPIC", "-pthread", ...flags, "-isystem", includeFolder, "-c", source, "-o", object];
      return { args, object, part };
    });
    const waiting = [...work];
    const compileNext = async () => {
      for (let next = waiting.shift(); next; next = waiting.shift()) await run(compiler, next.args, { cwd: root });
    };
    await Promise.all(Array.from({ length: jobs }, compileNext));
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

/** Builds an addon of all sources, with its file and its linker flags. Otherwise as {@link compileProducts}. */
export async function compileAddon({ file, includeFolder, compilations, link }) {
  await compileProducts({
    includeFolder,
    compilations: compilations.map((compilation) => ({ ...compilation, part: "addon" })),
    products: [{ file, parts: ["addon"], link: ["-shared", ...link] }],
  });
}
