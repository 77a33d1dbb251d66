// What is done to an element of a matrix product before it is stored: act(sum + bias) + residual.
#pragma once

#include "bfloat16.h"
#include "pointwise.h"

namespace stepsize {

enum class Activation : int { none, relu, gelu, silu };
constexpr int kActivations = 4;

struct Activate {
  Activation kind;
  STEPSIZE_HOST_DEVICE float operator()(float x) const {
    switch (kind) {
      case Activation::none: return x;
      case Activation::relu: return pointwise::Relu{}(x);
      case Activation::gelu: return pointwise::Gelu{}(x);
      case Activation::silu: return pointwise::Silu{}(x);
    }
    return x;
  }
};

// T: what tensors are stored in.
template <class T>
struct Epilogue {
  const T* bias;      // one per column, or null
  const T* residual;  // of the result's shape, or null
  Activate activate;

  // at: the element of the result, which is row-major.
  STEPSIZE_HOST_DEVICE float operator()(float sum, int64_t at, int column) const {
    if (bias) sum += toFloat(bias[column]);
    sum = activate(sum);
    if (residual) sum += toFloat(residual[at]);
    return sum;
  }
};

// Where its tensors stand among those of a product, "a, b[, bias][, residual]"; −1 for one that is not there.
struct EpilogueTensors {
  int bias, residual;
  EpilogueTensors(int tensors, bool biased) : bias(biased ? 2 : -1), residual(-1) {
    const int before = biased ? 3 : 2;
    if (tensors > before) residual = before;
  }
};

}  // namespace stepsize
