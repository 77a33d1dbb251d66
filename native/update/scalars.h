// The hyper-parameters of a step, the scalars that an update rule reads, and the optimizer's counters.
//
// Hyper-parameters arrive as float64, one row per parameter group. prepareStep (prepare.h) turns each row into float32
// scalars once per step. Options become values, not branches: `maximize` is the sign of gradientScale, and coupled and
// decoupled weight decay are two factors, one of which is neutral.
#pragma once

#include <cstdint>

#include "../host_device.h"

// The fields of Hyper, Scheduled, State and GroupState, which are all float64. The addon exports their names, so that
// TypeScript writes and reads rows by name.
// clang-format off
#define STEPSIZE_HYPER_FIELDS(FIELD)                                                                            \
  FIELD(learningRate)                                                                                           \
  FIELD(weightDecay)                                                                                            \
  FIELD(decoupledDecay)  /* 1: weight decay shrinks the parameter (AdamW); 0: it is added to the gradient */    \
  FIELD(maximize)        /* 1 or 0 */                                                                           \
  FIELD(beta1)           /* Adam and Lion */                                                                    \
  FIELD(beta2)                                                                                                  \
  FIELD(epsilon)                                                                                                \
  FIELD(momentum)        /* SGD */                                                                              \
  FIELD(dampening)                                                                                              \
  FIELD(nesterov)        /* 1 or 0 */                                                                           \
  FIELD(biasCorrection)  /* 1: the learning rate is divided by 1 − β1^t */

#define STEPSIZE_SCHEDULED_FIELDS(FIELD) FIELD(learningRate) FIELD(beta1) FIELD(momentum)

#define STEPSIZE_STATE_FIELDS(FIELD)                                                                            \
  FIELD(iteration)    /* advances with every step */                                                            \
  FIELD(updates)      /* advances only if the step is applied */                                                \
  FIELD(skipped)      /* steps that were not applied because a gradient was not finite */                       \
  FIELD(stoppedAt)    /* 1 + the first iteration with a non-finite gradient; 0 if none or if they are skipped */ \
  FIELD(norm)         /* norm of the last gradient after scaling, if it was computed */                         \
  FIELD(coefficient)  /* clip coefficient, at most 1 */

// The learning rate is that of the last step. Checkpoints of earlier versions hold running products of the betas in the
// unused fields.
#define STEPSIZE_GROUP_STATE_FIELDS(FIELD) FIELD(unused1) FIELD(unused2) FIELD(learningRate)
// clang-format on

namespace stepsize::update {

#define STEPSIZE_DOUBLE(name) double name;
// One row of the hyper-parameter tensor [groups, kHyperFields].
struct Hyper {
  STEPSIZE_HYPER_FIELDS(STEPSIZE_DOUBLE)
};
// One row of the schedule tensor [steps, groups, kScheduledFields]. If the schedule is a table, this row replaces a
// group's hyper-parameters at a step.
struct Scheduled {
  STEPSIZE_SCHEDULED_FIELDS(STEPSIZE_DOUBLE)
};
// The head of the state tensor. It stays on the device, so that no step waits for the host.
struct State {
  STEPSIZE_STATE_FIELDS(STEPSIZE_DOUBLE)
};
// One per group, behind the head of the state tensor.
struct GroupState {
  STEPSIZE_GROUP_STATE_FIELDS(STEPSIZE_DOUBLE)
};
#undef STEPSIZE_DOUBLE
constexpr int kHyperFields = sizeof(Hyper) / sizeof(double);
constexpr int kScheduledFields = sizeof(Scheduled) / sizeof(double);
constexpr int kStateFields = sizeof(State) / sizeof(double);
constexpr int kStateFieldsPerGroup = sizeof(GroupState) / sizeof(double);

#define STEPSIZE_NAME(name) #name,
// The names of the fields, in their order.
constexpr const char* kHyperNames[kHyperFields] = {STEPSIZE_HYPER_FIELDS(STEPSIZE_NAME)};
constexpr const char* kScheduledNames[kScheduledFields] = {STEPSIZE_SCHEDULED_FIELDS(STEPSIZE_NAME)};
constexpr const char* kStateNames[kStateFields] = {STEPSIZE_STATE_FIELDS(STEPSIZE_NAME)};
constexpr const char* kGroupStateNames[kStateFieldsPerGroup] = {STEPSIZE_GROUP_STATE_FIELDS(STEPSIZE_NAME)};
#undef STEPSIZE_NAME

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
