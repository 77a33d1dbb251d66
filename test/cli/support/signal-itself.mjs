// Preloaded by a program that a test interrupts: the program signals itself, at a place of its own work that the
// environment names. In place of a signal it may throw what nothing catches. From outside a signal may come late, on a machine that is busy, and find the work done.
import { existsSync, readFileSync } from "node:fs";
import { isMainThread } from "node:worker_threads";

const { signal, file, lines, says, delay = 0 } = JSON.parse(process.env.SIGNAL_ITSELF);

function signalItself() {
  setTimeout(() => {
    if (signal === "exception") throw new Error("an error of the test");
    if (signal === "rejection") Promise.reject(new Error("an error of the test"));
    else process.kill(process.pid, signal);
  }, delay);
}

function whenFileHasLines() {
  const polling = setInterval(() => {
    if (!existsSync(file) || readFileSync(file, "utf8").split("\n").length <= lines) return;
    clearInterval(polling);
    signalItself();
  }, 1);
  polling.unref();
}

function whenItSays() {
  const write = process.stderr.write.bind(process.stderr);
  process.stderr.write = (text, ...more) => {
    if (String(text).includes(says)) {
      process.stderr.write = write;
      signalItself();
    }
    return write(text, ...more);
  };
}

if (isMainThread && file) whenFileHasLines();
else if (isMainThread) whenItSays();
