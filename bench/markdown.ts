import type { Result } from "./harness.js";

/** The file that `npm run bench -- --save` writes. */
export interface ResultsFile {
  readonly command: string;
  readonly cpu: string;
  readonly cores: number;
  readonly node: string;
  readonly commit: string;
  readonly date: string;
  readonly results: readonly Result[];
}

/** The results as a Markdown table below the machine and the command. */
export function format({ command, cpu, cores, node, commit, date, results }: ResultsFile): string {
  const rows = results.flatMap((result) => {
    const stepsizeNames = Object.keys(result.milliseconds).filter((name) => name.startsWith("stepsize"));
    const peerNames = Object.keys(result.milliseconds).filter((name) => !name.startsWith("stepsize"));
    return stepsizeNames.map((name) => {
      const median = result.milliseconds[name] as number;
      const peers = peerNames.map((other) => `${other} ${digits(result.milliseconds[other] as number)}`).join(", ");
      const what = name === "stepsize" ? result.name : `${result.name}: ${name.slice("stepsize ".length)}`;
      return `| ${what} | ${result.threads} | ${digits(median)} | ${peers || "none found"} |`;
    });
  });
  return [
    `${cpu}, ${cores} cores, Node ${node}, commit ${commit}, ${date}: \`${command.trim()}\`. Medians in milliseconds.`,
    "",
    "| what | threads | stepsize | others, in the same run |",
    "| --- | --- | --- | --- |",
    ...rows,
  ].join("\n");
}

function digits(milliseconds: number): string {
  return milliseconds.toPrecision(3);
}
