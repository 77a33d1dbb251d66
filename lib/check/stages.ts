import { StepsizeError } from "../errors.js";
import type { CaseGroup, Stage } from "./stage.js";
import { benchStage } from "./stages/bench.js";
import { captureStage } from "./stages/capture.js";
import { deviceStage } from "./stages/device.js";
import { operationsStage } from "./stages/operations.js";
import { optimizerStage } from "./stages/optimizer.js";
import { trainingStage } from "./stages/training.js";

/** The stages in the order in which they run. */
export const stages: readonly Stage[] = [
  deviceStage,
  operationsStage,
  optimizerStage,
  captureStage,
  trainingStage,
  benchStage,
];

/**
 * Returns a group of a stage.
 * @throws StepsizeError `not-found`
 */
export function findGroup(stageName: string, groupName: string): CaseGroup {
  const stage = stages.find(({ name }) => name === stageName);
  const group = stage?.groups().find(({ name }) => name === groupName);
  if (!group) throw new StepsizeError("not-found", `there is no group ${groupName} in the stage ${stageName}`);
  return group;
}
