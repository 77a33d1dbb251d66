// Formats the C++ sources, where clang-format is installed.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";

const sources = ["native", "bench/native"].flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => /\.(h|cc)$/.test(name) && !name.startsWith("build/"))
    .map((name) => `${folder}/${name}`),
);
const { error, status } = spawnSync("clang-format", ["-i", ...sources], { stdio: "inherit" });
if (error) console.error("clang-format is not installed; the C++ sources were left as they are");
process.exitCode = status ?? 1;
