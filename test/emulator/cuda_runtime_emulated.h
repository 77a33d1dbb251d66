// <cuda_runtime.h> for g++: the part of CUDA's runtime that a backend calls, on the CPU. Kernels are started by
// launch().
//
//   runtime_errors.h     codes, the last error, failures that stay
//   runtime_devices.h    devices, versions, occupancy
//   runtime_streams.h, runtime_events.h     a thread per stream; events order them
//   runtime_memory.h     allocations, copies, memsets
//   runtime_graphs.h     captures and what replays them
//
// Modelled as CUDA documents it: what waits and what does not, when pageable memory is read, what a capture refuses,
// which errors stay. Work on the null stream is done before the call returns, and a kernel that fails there throws.
// Each device has its own memory and streams; that a kernel of one touches memory of another is not noticed.
// A code of "not ready" becomes the last error, too: code that polls must take it away before it looks for others.
//
// The environment says what machine it is, for tests that start a process of their own:
//
//   STEPSIZE_EMULATED_DRIVER    the driver's version, 13000 by default; 12040: too old; 0: there is none
//   STEPSIZE_EMULATED_DEVICES   how many devices, 2 by default
//   STEPSIZE_EMULATED_MEMORY    bytes of memory that each has, 4 GiB by default
//   STEPSIZE_EMULATED_SHARED    bytes of shared memory that a kernel may ask for, 163 KiB by default
//   CUDA_VISIBLE_DEVICES        as for CUDA, by numbers: empty for none
#pragma once

#include "cuda_types.h"
#include "runtime_devices.h"
#include "runtime_errors.h"
#include "runtime_events.h"
#include "runtime_graphs.h"
#include "runtime_memory.h"
#include "runtime_streams.h"
