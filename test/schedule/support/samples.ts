import type { ScheduleJSON } from "#lib/schedule/index.js";

/** One or more sets of options for every schedule. They include all options with defaults that depend on the budget. */
export const samples: readonly ScheduleJSON[] = [
  { name: "uba", budget: 60, maxLr: 0.1, minLr: 0.001, phi: 7.5 },
  { name: "constant", budget: 60, maxLr: 0.1 },
  { name: "step", budget: 60, maxLr: 0.1, minLr: 0.0015, milestones: [0.2, 0.45, 0.9], gamma: 0.2 },
  { name: "exponential", budget: 60, maxLr: 0.1, minLr: 0.005, endLr: 0.001 },
  { name: "polynomial", budget: 60, maxLr: 0.1, minLr: 0.001, power: 3 },
  { name: "linear", budget: 60, maxLr: 0.1, minLr: 0.001 },
  { name: "cosine", budget: 60, maxLr: 0.1, minLr: 0.001 },
  { name: "cosine-restarts", budget: 60, maxLr: 0.1, minLr: 0.001, firstPeriod: 9, periodFactor: 3 },
  { name: "cyclical", budget: 60, maxLr: 0.1, minLr: 0.001, period: 9 },
  { name: "one-cycle", budget: 60, maxLr: 0.1, minLr: 0.0001, arms: "linear", cycleMomentum: true },
  { name: "rex", budget: 60, maxLr: 0.1, minLr: 0.001 },
  { name: "inverse-sqrt", budget: 60, maxLr: 0.1, minLr: 0.03, riseSteps: 5 },
  { name: "wsd", budget: 60, maxLr: 0.1, minLr: 0.001, riseSteps: 5, cooldownSteps: 20, cooldown: "sqrt" },
  { name: "one-minus-sqrt", budget: 60, maxLr: 0.1, minLr: 0.001 },
  { name: "one-cycle-momentum", budget: 60, maxLr: 0.1, riseFraction: 0.2, threePhase: true },
];

/** A joined schedule. Its parts contain its options. */
export const joinedSample: ScheduleJSON = {
  name: "joined",
  budget: 60,
  parts: [
    { name: "constant", budget: 40, maxLr: 0.1, warmup: 10 },
    {
      name: "joined",
      parts: [
        { name: "one-minus-sqrt", budget: 15, maxLr: 0.1 },
        { name: "constant", budget: 9, maxLr: 0.02 },
      ],
    },
  ],
  boundaries: [40],
};

/** The samples of schedules that take a `warmup`. */
export const warmable = samples.filter(
  ({ name }) => !["one-cycle", "one-cycle-momentum", "inverse-sqrt", "wsd"].includes(name),
);
