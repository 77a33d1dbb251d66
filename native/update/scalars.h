// What an update rule is told about its step, and what it is computed from.
//
// Hyper-parameters arrive as float64, one row per parameter group; prepareStep (prepare.h) turns each row into float32
// scalars once per step. Options are values, not branches: `maximize` is the sign of gradientScale, coupled and
// decoupled weight decay are two factors of which one is neutral.
#pragma once

#include <cstdint>

#include "../host_device.h"
namespace stepsize::update {

// One row of the hyper-parameter tensor [groups, kHyperFields], float64.
struct Hyper {
  double learningRate;
  double weightDecay;
  double decoupledDecay;  // 1: AdamW's decay of the parameter, 0: added to the gradient
  double maximize;        // 1 or 0
  double beta1;           // Adam
  double beta2;
  double epsilon;
  double momentum;  // SGD
  double dampening;
  double nesterov;        // 1 or 0
  double biasCorrection;  // 1: the step is divided by 1 − β1^t
};
constexpr int kHyperFields = sizeof(Hyper) / sizeof(double);

// One row of the schedule tensor [steps, groups, kScheduledFields], float64: what replaces a group's hyper-parameters
// at a step, where the schedule was tabulated.
struct Scheduled {
  double learningRate;
  double beta1;
  double momentum;
};
constexpr int kScheduledFields = sizeof(Scheduled) / sizeof(double);

// The head of the state tensor, float64, kept on the device so that no step waits for the host.
struct State {
  double iteration;  // advances with every step
  double updates;    // advances only when the step was applied
  double skipped;    // steps not applied because a gradient was not finite
  double stoppedAt;  // 1 + the iteration whose gradient was not finite, 0 while all were; sticky unless skipping
  double norm;       // of the last step's gradient after scaling, if it was asked for
  double coefficient;
};
constexpr int kStateFields = sizeof(State) / sizeof(double);

// Behind the head, per group. Checkpoints of earlier versions have running products of the betas in the first two.
struct GroupState {
  double unused[2];
  double learningRate;  // of the last step
};
constexpr int kStateFieldsPerGroup = sizeof(GroupState) / sizeof(double);

// In place of a parameter's number of updates: as many as the optimizer has made. Checkpoints of earlier versions have
// that one number for all parameters.
constexpr int32_t kAsManyAsAll = -1;

// One row of the scalars tensor [groups + parameters, kScalarFields], float32: see StepTables.
struct Scalars {
  float apply;          // 0: leave parameters and moments as they are
  float gradientScale;  // with the next: clip coefficient × accumulation scale × sign
  float gradientRescale;
  float coupledDecay;
  float decayFactor;  // 1 − lr·weightDecay where the decay is decoupled
  float stepSize;     // lr, divided by 1 − β1^t where the bias is corrected
  float beta1;
  float oneMinusBeta1;
  float beta2;
  float oneMinusBeta2;
  float secondScale;  // 1/√(1 − β2^t)
  float epsilon;
  float momentum;
  float gradientWeight;  // of the gradient in the momentum buffer: 1 − dampening, 1 at the first step
  float directGradient;  // Nesterov: direction = gradient + momentum·buffer, else the buffer itself
  float directBuffer;
  uint32_t iteration;  // from 0; indexes the random numbers of stochastic rounding
};
constexpr int kScalarFields = sizeof(Scalars) / sizeof(float);

// Once per step and parameter, by whoever updates its first elements.
STEPSIZE_HOST_DEVICE void countUpdate(int32_t& updates, const Scalars& s) {
  if (s.apply != 0.0f && updates < 0x7fffffff) updates++;
}

// The gradient as a rule takes it.
STEPSIZE_HOST_DEVICE float scaledGradient(float gradient, const Scalars& s) {
  return gradient * s.gradientScale * s.gradientRescale;
}

}  // namespace stepsize::update
