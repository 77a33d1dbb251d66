// <cuda_runtime.h> for g++: the part of the CUDA runtime that the backend calls, on the CPU. launch() starts kernels.
//
//   runtime_errors.h     error codes, the last error, sticky failures
//   runtime_devices.h    devices, versions, occupancy
//   runtime_streams.h, runtime_events.h     streams, one thread each, and events that order them
//   runtime_memory.h     allocations, copies, memsets
//   runtime_graphs.h     captures and graphs
//
// Modeled as CUDA documents them: which calls wait, when pageable memory is read, what a capture refuses, which errors
// are sticky. Work on the null stream is done before the call returns, and a kernel that fails there throws. Each
// device has separate memory and streams, but a kernel of one device that accesses memory of another is not detected.
// cudaErrorNotReady becomes the last error too, so code that polls must clear it before it checks for other errors.
//
// Environment variables describe the machine, for tests that start a separate process:
//
//   STEPSIZE_EMULATED_DRIVER    the version of the driver, 13000 by default; 12040 is too old, 0 is no driver
//   STEPSIZE_EMULATED_DEVICES   the number of devices, 2 by default
//   STEPSIZE_EMULATED_MEMORY    the bytes of memory of each device, 4 GiB by default
//   STEPSIZE_EMULATED_SHARED    the bytes of shared memory that a kernel may request, 163 KiB by default
//   STEPSIZE_EMULATED_CAPABILITY   the compute capability, 90 by default
//   CUDA_VISIBLE_DEVICES        as for CUDA, by number; empty for none
#pragma once

#include "cuda_types.h"
#include "runtime_devices.h"
#include "runtime_errors.h"
#include "runtime_events.h"
#include "runtime_graphs.h"
#include "runtime_memory.h"
#include "runtime_streams.h"
