// Takes a lock, says so, and holds it until it is killed: node hold-lock.ts <path>
import { takeLock } from "#lib/study/index.js";

try {
  await takeLock(process.argv[2] as string);
  process.stdout.write("taken\n");
  setInterval(() => {}, 1000);
} catch (error) {
  process.stdout.write(`${(error as Error).message}\n`);
}
