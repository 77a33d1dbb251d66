// The shape rules: each function checks the tensors and attributes of an operation and determines its outputs. A shape
// rule runs on the caller's thread, before anything is enqueued. operations.def says which operation has which rule,
// and describes the tensors.
#pragma once

#include "operations.h"

namespace stepsize::shape_rule {

#define OPERATION_ON_LISTS(name, tensors, tensorNames, lists, listNames, shapeRule, ...) \
  void shapeRule(Call& call);  // NOLINT(readability-redundant-declaration)
#include "operations.def"

}  // namespace stepsize::shape_rule
