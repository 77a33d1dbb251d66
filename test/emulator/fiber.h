// A fiber: a stack, and a switch that saves only the registers that a function call must preserve. There is one per
// CUDA thread, so that a kernel can stop at a barrier and continue later.
#pragma once

#include <pthread.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>

#include "settings.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__) && !defined(STEPSIZE_EMULATOR_UCONTEXT)
#define STEPSIZE_EMULATOR_UCONTEXT 1
#endif
#if defined(STEPSIZE_EMULATOR_UCONTEXT)
#include <ucontext.h>
#endif

namespace stepsize::emulator {

// A stack and where to continue on it.
struct Fiber {
  char* stack = nullptr;
  size_t bytes = 0;
  void* fakeStack = nullptr;  // AddressSanitizer's data
#if defined(STEPSIZE_EMULATOR_UCONTEXT)
  ucontext_t context;
#else
  void* stackPointer = nullptr;
#endif
};

inline constinit thread_local Fiber* currentFiber = nullptr;

// swapcontext makes a system call for the signal mask at each switch, and at a barrier a block switches for every
// thread, so there is a switch in assembly.
#if !defined(STEPSIZE_EMULATOR_UCONTEXT)
extern "C" __attribute__((visibility("hidden"))) void stepsize_emulator_switch(void** save, void* load);
asm(R"(
  .section .text.stepsize_emulator_switch,"axG",@progbits,stepsize_emulator_switch,comdat
  .weak stepsize_emulator_switch
  .hidden stepsize_emulator_switch
  .type stepsize_emulator_switch,@function
stepsize_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .size stepsize_emulator_switch,.-stepsize_emulator_switch
  .text
)");
#endif

// Continues another fiber; returns when that or another one switches back.
__attribute__((noinline)) STEPSIZE_EMULATOR_INTERNAL inline void switchTo(Fiber* to) {
  Fiber* from = currentFiber;
  currentFiber = to;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&from->fakeStack, to->stack, to->bytes);
#endif
#if defined(STEPSIZE_EMULATOR_UCONTEXT)
  swapcontext(&from->context, &to->context);
#else
  stepsize_emulator_switch(&from->stackPointer, to->stackPointer);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(from->fakeStack, nullptr, nullptr);
#endif
}

// A new fiber must call this before it does anything else.
inline void enterFiber() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
}

constexpr size_t kGuardBytes = 4096;

// Makes a fiber that runs `entry` when it is switched to; `entry` must not return.
inline Fiber* createFiber(void (*entry)()) {
  auto* fiber = new Fiber;
  fiber->bytes = settings().stackBytes;
  void* memory = mmap(nullptr, fiber->bytes + kGuardBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    perror("the stack of an emulated thread");
    abort();
  }
  mprotect(memory, kGuardBytes, PROT_NONE);  // a stack overflow faults instead of writing into the neighboring stack
  fiber->stack = static_cast<char*>(memory) + kGuardBytes;
#if defined(STEPSIZE_EMULATOR_UCONTEXT)
  getcontext(&fiber->context);
  fiber->context.uc_stack.ss_sp = fiber->stack;
  fiber->context.uc_stack.ss_size = fiber->bytes;
  fiber->context.uc_link = nullptr;
  makecontext(&fiber->context, entry, 0);
#else
  // The stack looks as if `entry` had called the switch: its return address, and below it six saved registers.
  void** top = reinterpret_cast<void**>(fiber->stack + fiber->bytes);
  *--top = nullptr;  // aligns the stack as the calling convention requires
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; i++) *--top = nullptr;
  fiber->stackPointer = top;
#endif
  return fiber;
}

// Frees a fiber that is not running.
inline void destroyFiber(Fiber* fiber) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(fiber->stack, fiber->bytes);
#endif
  munmap(fiber->stack - kGuardBytes, fiber->bytes + kGuardBytes);
  delete fiber;
}

// Describes the stack that the operating system gave the calling thread.
inline void adoptCallingThread(Fiber& fiber) {
  pthread_attr_t attributes;
  void* base = nullptr;
  pthread_getattr_np(pthread_self(), &attributes);
  pthread_attr_getstack(&attributes, &base, &fiber.bytes);
  pthread_attr_destroy(&attributes);
  fiber.stack = static_cast<char*>(base);
}

}  // namespace stepsize::emulator
