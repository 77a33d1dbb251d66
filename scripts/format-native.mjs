// Formats the C++ and CUDA sources if clang-format is installed. With --check it only reports unformatted files.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";

const folders = ["native", "bench/native", "test/emulator", "test/check", "test/cuda", "test/ptx"];
const sources = folders.flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => /\.(h|cc|cuh|cu|def)$/.test(name) && !name.startsWith("build/"))
    .map((name) => `${folder}/${name}`),
);
const mode = process.argv.includes("--check") ? ["--dry-run", "-Werror"] : ["-i"];
const { error, status } = spawnSync("clang-format", [...mode, ...sources], { stdio: "inherit" });
if (error) console.error("clang-format is not installed; the C++ sources were not formatted");
process.exitCode = status ?? 1;
