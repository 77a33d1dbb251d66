// Takes a lock, prints a message, and holds the lock until it is killed, or exits while holding it: node hold-lock.ts
// <path> [exit]
import { takeLock } from "#lib/files/folder-lock.js";

try {
  await takeLock(process.argv[2] as string);
  process.stdout.write("taken\n");
  if (process.argv[3] === "exit") process.exit();
  setInterval(() => {}, 1000);
} catch (error) {
  process.stdout.write(`${(error as Error).message}\n`);
}
