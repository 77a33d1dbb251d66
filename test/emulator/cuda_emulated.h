// CUDA C++ for g++: compiles a kernel file as ordinary C++ and runs it on the CPU, with one fiber per CUDA thread.
//
//   cuda_types.h, cuda_collectives.h, cuda_atomics.h, cuda_math.h, cuda_bfloat16.h     the names that kernels use
//   cuda_tensor_core.h     the equivalents of the inline PTX in native/cuda/tensor_core.cuh
//   launch.h → grid.h → block_runner.h → scheduler.h, shared_memory.h, thread.h, fiber.h     run a launch
//   race_detector.cc     linked into programs whose kernels are compiled with -fsanitize=thread
//   kernel_test.h, build.mjs, run.mjs     tests of kernels
//   cuda_runtime_emulated.h     devices, streams, memory and graphs, for the code that launches kernels
//   memory_observer.h     reports device memory to test/ptx/, which with launch.h runs PTX instead of fibers
//
// The emulator reports with file and line: barriers that not all threads reach, warp collectives whose lanes disagree,
// and launches that a device refuses. Sanitizers find out-of-bounds and misaligned accesses and races. Not modeled:
// flush to zero, approximate intrinsics, weak memory order, bank conflicts. A block runs to its end once it has
// started, so a block that spins until another one does something hangs; the last-block-done pattern works.
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
