// Compares schedules with the same budget and the same highest rate. A schedule is a plain function of the step.
//
//   npx tsx examples/schedules.ts
import { schedule } from "stepsize";

const budget = 1000;
const maxLr = 0.1;

const compared: Record<string, schedule.Schedule> = {
  "UBA, phi 0.5": schedule.uba({ budget, maxLr, phi: 0.5 }),
  "UBA, phi 2": schedule.uba({ budget, maxLr, phi: 2 }),
  "UBA, phi 10": schedule.uba({ budget, maxLr, phi: 10 }),
  "UBA, warm-up": schedule.uba({ budget, maxLr, phi: 2, warmup: 100 }),
  cosine: schedule.cosine({ budget, maxLr }),
  linear: schedule.linear({ budget, maxLr }),
  "one cycle": schedule.oneCycle({ budget, maxLr }),
  constant: schedule.constant({ budget, maxLr }),
};

const steps = [0, 50, 250, 500, 750, 950, 999];
const row = (name: string, cells: string[]) =>
  console.log(name.padEnd(14) + cells.map((cell) => cell.padStart(10)).join(""));

row("step", [...steps.map(String), "mean"]);
for (const [name, lr] of Object.entries(compared)) {
  const mean = schedule.tabulate(lr).reduce((sum, rate) => sum + rate, 0) / budget;
  row(
    name,
    [...steps.map(lr), mean].map((rate) => rate.toFixed(5)),
  );
}

// A schedule can be stored as JSON and restored from it.
const stored = JSON.stringify(compared["UBA, warm-up"]);
const again = schedule.fromJSON(JSON.parse(stored));
console.log(`\n${stored}\nmade again: rate ${again(500).toFixed(5)} at step 500`);
