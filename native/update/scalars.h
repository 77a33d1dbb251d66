// The hyper-parameters of a step, the scalars that an update rule reads, and the optimizer's counters.
//
// Hyper-parameters arrive as float64, one row per parameter group. prepareStep (prepare.h) turns each row into float32
// scalars once per step. Options become values, not branches: `maximize` is the sign of gradientScale, and coupled and
// decoupled weight decay are two factors, one of which is neutral.
#pragma once

#include <cstdint>

#include "../host_device.h"
namespace stepsize::update {

// One row of the hyper-parameter tensor [groups, kHyperFields], float64.
struct Hyper {
  double learningRate;
  double weightDecay;
  double decoupledDecay;  // 1: weight decay shrinks the parameter (AdamW); 0: it is added to the gradient
  double maximize;        // 1 or 0
  double beta1;           // Adam
  double beta2;
  double epsilon;
  double momentum;  // SGD
  double dampening;
  double nesterov;        // 1 or 0
  double biasCorrection;  // 1: the learning rate is divided by 1 − β1^t
};
constexpr int kHyperFields = sizeof(Hyper) / sizeof(double);

// One row of the schedule tensor [steps, groups, kScheduledFields], float64. If the schedule is a table, this row
// replaces a group's hyper-parameters at a step.
struct Scheduled {
  double learningRate;
  double beta1;
  double momentum;
};
constexpr int kScheduledFields = sizeof(Scheduled) / sizeof(double);

// The head of the state tensor, float64. It stays on the device, so that no step waits for the host.
struct State {
  double iteration;    // advances with every step
  double updates;      // advances only if the step is applied
  double skipped;      // steps that were not applied because a gradient was not finite
  double stoppedAt;    // 1 + the first iteration with a non-finite gradient, else 0; 0 if such steps are skipped
  double norm;         // norm of the last gradient after scaling, if it was computed
  double coefficient;  // clip coefficient, at most 1
};
constexpr int kStateFields = sizeof(State) / sizeof(double);

// One per group, behind the head of the state tensor. Checkpoints of earlier versions hold running products of the
// betas in the two unused fields.
struct GroupState {
  double unused[2];
  double learningRate;  // of the last step
};
constexpr int kStateFieldsPerGroup = sizeof(GroupState) / sizeof(double);

// Stands for a parameter's number of updates if that equals the optimizer's. Checkpoints of earlier versions have one
// number for all parameters.
constexpr int32_t kAsManyAsAll = -1;

// One row of the scalars tensor [groups + parameters, kScalarFields], float32; see StepTables.
struct Scalars {
  float apply;          // 0: leave parameters and moments as they are
  float gradientScale;  // gradientScale · gradientRescale = clip coefficient × scale × sign
  float gradientRescale;
  float coupledDecay;
  float decayFactor;  // 1 − lr·weightDecay with decoupled decay, otherwise 1
  float stepSize;     // lr, divided by 1 − β1^t if the bias is corrected
  float beta1;
  float oneMinusBeta1;
  float beta2;
  float oneMinusBeta2;
  float secondScale;  // 1/√(1 − β2^t)
  float epsilon;
  float momentum;
  float gradientWeight;  // of the gradient in the momentum buffer: 1 − dampening; 1 at the first update
  float directGradient;  // Nesterov: direction = gradient + momentum·buffer; otherwise the buffer itself
  float directBuffer;
  uint32_t iteration;  // from 0; selects the random numbers of stochastic rounding
};
constexpr int kScalarFields = sizeof(Scalars) / sizeof(float);

// Counts an update of a parameter. The task or block that updates the parameter's first elements calls it, once per
// step.
STEPSIZE_HOST_DEVICE void countUpdate(int32_t& updates, const Scalars& s) {
  if (s.apply != 0.0f && updates < 0x7fffffff) updates++;
}

// The gradient as a rule uses it.
STEPSIZE_HOST_DEVICE float scaledGradient(float gradient, const Scalars& s) {
  return gradient * s.gradientScale * s.gradientRescale;
}

}  // namespace stepsize::update
