// CUDA C++ for g++: compiles a kernel file as ordinary C++ and runs it on the CPU, one fiber per CUDA thread.
//
//   cuda_types.h, cuda_collectives.h, cuda_atomics.h, cuda_math.h, cuda_bfloat16.h     the names that kernels use
//   cuda_tensor_core.h     what the inline PTX in native/cuda/tensor_core.cuh does
//   launch.h → grid.h → block_runner.h → scheduler.h, shared_memory.h, thread.h, fiber.h     what runs them
//   race_detector.cc     linked into programs whose kernels are compiled with -fsanitize=thread
//   kernel_test.h, build.mjs, run.mjs     how kernels are tested
//   cuda_runtime_emulated.h     devices, streams, memory and graphs, for the code that launches kernels
//   memory_observer.h     who is told about memory; with launch.h the way by which test/ptx/ takes the place of the
//   fibers
//
// Found and reported with file and line: barriers that not all threads reach, warp collectives whose lanes disagree,
// launches that a device refuses. Found with sanitizers: out-of-bounds and misaligned accesses, races.
// Not modelled: flush to zero, approximate intrinsics, weak memory order, bank conflicts. A block runs to its end once
// begun, so one that spins until another does something hangs; the last-block-done pattern works.
#pragma once

#include "cuda_atomics.h"
#include "cuda_bfloat16.h"
#include "cuda_collectives.h"
#include "cuda_math.h"
#include "cuda_tensor_core.h"
#include "cuda_types.h"
#include "launch.h"

#define threadIdx (::stepsize::emulator::currentThread->index)
#define blockIdx (::stepsize::emulator::runner->blockIndex)
#define blockDim (::stepsize::emulator::runner->blockSize)
#define gridDim (::stepsize::emulator::runner->gridSize)
constexpr int warpSize = stepsize::emulator::kWarpSize;
