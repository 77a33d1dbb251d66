// Writes lib/check/golden-losses.ts: the losses of test/golden/ that `stepsize check` needs in the package.
//
//   node scripts/golden-losses.mjs
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./gyp.mjs";

const golden = (name) => JSON.parse(readFileSync(join(root, "test", "golden", `${name}.json`), "utf8"));
const [mlp, resnet8, olmo] = ["mlp", "resnet8", "olmo"].map(golden);
const { shape, width, momentum } = resnet8;
const losses = {
  mlp,
  resnet8: { shape, width, momentum, rates: resnet8.rates, losses: resnet8.free },
  olmo: { shape: olmo.shape, items: olmo.items, rates: olmo.rates, losses: olmo.free },
};
const text = `// Losses of 20 training steps in float64 with PyTorch 1.13, from test/golden/mlp.py, resnet8.py and olmo.py.
// Written by scripts/golden-losses.mjs.

export const goldenLosses = ${JSON.stringify(losses, undefined, 2)} as const;
`;
const biome = join(root, "node_modules", ".bin", "biome");
const formatted = execFileSync(biome, ["format", "--stdin-file-path=golden-losses.ts"], { input: text });
writeFileSync(join(root, "lib", "check", "golden-losses.ts"), formatted);
