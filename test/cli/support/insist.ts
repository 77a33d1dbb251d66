// Sends itself one signal three times, further apart than one key press: node insist.ts <signal>
import { setTimeout as wait } from "node:timers/promises";
import { Interrupts } from "#lib/cli/interrupts.js";

let requests = 0;
const interrupts = new Interrupts(() => {
  requests++;
});
for (let i = 0; i < 3; i++) {
  process.kill(process.pid, process.argv[2]);
  await wait(300);
}
interrupts.close();
process.stdout.write(`${requests} request\n`);
