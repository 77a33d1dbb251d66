import type { Output } from "./bundle.mjs";

/** Writes the package into an empty folder, without the prebuilt addons. */
export function stage(folder: string): Promise<Record<string, Output>>;

/** Returns the paths of all files in a folder, sorted. */
export function filesIn(folder: string): string[];
