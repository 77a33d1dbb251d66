// The npm packages of a clone. package.json lists what the build and `npm start` need. scripts/development/package.json
// lists what tests, checks, benchmarks and packaging need as well: most of the packages, and three quarters of the bytes.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Seconds after which npm gives up a request to its registry. Its own default is five minutes, three times. */
const registryTimeout = 20;

/** The folder of set-up's own files, among the packages. */
const kept = ".stepsize";

/** A file that exists while npm writes packages. */
function markerOf(root) {
  return join(root, "node_modules", kept, "installing");
}

/**
 * Installs the packages of package-lock.json that are missing. Without `withTools` it installs those of `npm start`, and
 * leaves others as they are. In a terminal npm shows its progress.
 *
 * @param {string} root the folder of the clone
 * @param {{ withTools: boolean }} options
 * @returns {string | undefined} why that failed, in one line
 */
export function installDependencies(root, { withTools }) {
  // Not `npm ci`, which refuses a lockfile if a registry lacks the optional packages of other platforms.
  const args = ["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  // The lockfile has the hashes of all packages, so a copy in npm's cache is as good as a new download.
  const retry = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000"];
  const source = ["--prefer-offline", `--fetch-timeout=${registryTimeout * 1000}`, ...retry];
  // The packages of the tools are those of a workspace.
  const selection = withTools ? [] : ["--workspaces=false"];
  mkdirSync(join(root, "node_modules", kept), { recursive: true });
  writeFileSync(markerOf(root), "");
  const { status, error } = spawnSync("npm", [...args, ...source, ...selection], {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
  });
  // If npm fails, it restores the packages that were there. If it is killed, it cannot. `error`: it was not started.
  if (status !== null || error) rmSync(markerOf(root), { force: true });
  if (status === 0) return undefined;
  const reason = error?.message ?? (status === null ? "it was interrupted" : `exit code ${status}`);
  return (
    `npm could not install the dependencies (${reason}). If its registry did not answer within ${registryTimeout} s: ` +
    "check the network, and the address in `npm config get registry`"
  );
}

/**
 * Removes the packages if npm was killed while it wrote them. npm would take those that it had begun for complete ones.
 *
 * @param {string} root the folder of the clone
 */
export function removeIncomplete(root) {
  if (!existsSync(markerOf(root))) return;
  const modules = join(root, "node_modules");
  for (const name of readdirSync(modules))
    if (name !== kept) rmSync(join(modules, name), { recursive: true, force: true });
  rmSync(markerOf(root), { force: true });
}
