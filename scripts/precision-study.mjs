// Compares the loss after 200 steps in bf16 with that in float32, with three seeds each, for resnet8 on MNIST and
// OLMo-nano on text.
//
//   node scripts/precision-study.mjs <folder of token files> [folder for the runs]
//
// `stepsize train` makes the runs one after another. Finished runs are kept and not repeated. Writes
// docs/studies/precision/results.json and results.md.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./gyp.mjs";

const [tokens, folder = join(root, "runs", "precision")] = process.argv.slice(2);
if (!tokens) {
  console.error("usage: node scripts/precision-study.mjs <folder of token files> [folder for the runs]");
  process.exit(2);
}

const budget = 200;
const seeds = [0, 1, 2];
/** The training loss at the end is the mean over this many steps, because a single batch varies too much. */
const last = 20;
const models = [
  { model: "resnet8", data: "mnist", settings: ["--batch", "64"] },
  { model: "olmo-nano", data: `tokens:${tokens}`, settings: ["--batch", "8"] },
];

function makeRun({ model, data, settings }, precision, seed) {
  const run = join(folder, `${model}-${precision}-${seed}`);
  const read = () => JSON.parse(readFileSync(join(run, "result.json"), "utf8"));
  // An interrupted run has a result too.
  if (!existsSync(join(run, "result.json")) || read().status !== "completed") {
    const fresh = ["--model", model, "--data", data, ...settings, "--budget", String(budget), "--seed", String(seed)];
    const args = existsSync(join(run, "config.json"))
      ? ["--resume", run]
      : [...fresh, "--precision", precision, "--run", run];
    const { status } = spawnSync(process.execPath, [join(root, "dist", "cli", "main.js"), "train", ...args], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    if (status !== 0) process.exit(status ?? 1);
  }
  const result = read();
  const losses = readFileSync(join(run, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line).loss);
  const training = losses.slice(-last).reduce((sum, loss) => sum + loss, 0) / last;
  return { model, precision, seed, training, test: result.testLoss, device: result.device };
}

mkdirSync(folder, { recursive: true });
const runs = models.flatMap((model) =>
  ["float32", "bf16"].flatMap((precision) => seeds.map((seed) => makeRun(model, precision, seed))),
);

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const text = (value) => value.toFixed(4);
const sections = models.map(({ model }) => {
  const of = (precision, what) =>
    runs.filter((run) => run.model === model && run.precision === precision).map((run) => run[what]);
  const rows = ["training", "test"].map((what) => {
    const [wide, low] = [of("float32", what), of("bf16", what)];
    const [lowest, highest] = [Math.min(...wide), Math.max(...wide)];
    const inside = mean(low) >= lowest && mean(low) <= highest;
    const differences = low.map((value, i) => value - wide[i]);
    return `| ${[what, wide.map(text).join(", "), low.map(text).join(", "), `${text(lowest)} to ${text(highest)}`, `${text(mean(low))}, ${inside ? "inside" : "outside"}`, differences.map((d) => (d >= 0 ? `+${text(d)}` : `−${text(-d)}`)).join(", ")].join(" | ")} |`;
  });
  return `## ${model}\n\n| loss | float32 | bf16 | spread of float32 | mean of bf16 | bf16 − float32 |\n| --- | --- | --- | --- | --- | --- |\n${rows.join("\n")}`;
});
const out = join(root, "docs", "studies", "precision");
mkdirSync(out, { recursive: true });
writeFileSync(join(out, "results.json"), `${JSON.stringify({ budget, last, seeds, runs }, null, 2)}\n`);
writeFileSync(
  join(out, "results.md"),
  `# bf16 beside float32

The loss after ${budget} steps with AdamW and UBA, seeds ${seeds.join(", ")} of the weights and of the order of the data; of the training the mean
over the last ${last} steps. On ${[...new Set(runs.map(({ device }) => device))].join(", ")}. Written by \`node scripts/precision-study.mjs\`.

${sections.join("\n\n")}
`,
);
