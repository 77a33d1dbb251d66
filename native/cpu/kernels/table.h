// The CPU kernel of every operation, for one instruction set. One source file per instruction set includes this file.
#pragma once

#include "attention.h"
#include "convolution.h"
#include "elementwise.h"
#include "embedding.h"
#include "images.h"
#include "layer_norm.h"
#include "loss.h"
#include "matmul.h"
#include "normalization.h"
#include "pooling.h"
#include "random.h"
#include "reduce.h"
#include "ring.h"
#include "rotary.h"
#include "swiglu.h"
#include "traffic.h"
#include "update.h"
#include "widened.h"

namespace stepsize::STEPSIZE_ISA {

constexpr Kernel kKernels[kOperations] = {
#define OPERATION_ON_LISTS(name, ...) name,
#include "../../operations.def"
};

// Whether the kernel itself reads and writes bfloat16.
inline bool knowsBFloat16(OperationId id) {
  switch (id) {
    case OperationId::fill:
    case OperationId::copy:
    case OperationId::cast:
    case OperationId::writeRow: return true;
    default: return false;
  }
}

void run(OperationId id, const Invocation& call) {
  const Kernel kernel = kKernels[static_cast<int>(id)];
  if (hasBFloat16(call) && !knowsBFloat16(id))
    runWidened(kernel, call);
  else
    kernel(call);
}

}  // namespace stepsize::STEPSIZE_ISA
