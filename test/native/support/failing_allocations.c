// Preloaded (LD_PRELOAD) into a program that uses an addon. It makes chosen allocations of the addon fail, and no
// others: V8 and Node end the process if one of their allocations fails.
//
// An allocation belongs to the addon if the addon's code calls it. The C++ library is linked into that code. The
// program uses environment variables. It sets STEPSIZE_FAIL_AT to "n" or "n+m": the n-th allocation from then on,
// counted from 1, and the m allocations after it fail. With 0 none fails. STEPSIZE_ALLOCATIONS is the number of
// allocations since then.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static atomic_uintptr_t first_byte, last_byte;
static atomic_long count, first_failing, last_failing;

// Allocations of this thread do not count while this is above 0.
static __thread int exemptions __attribute__((tls_model("initial-exec")));

// Called by the emulated CUDA runtime, which is part of the addon: see test/emulator/failing_allocations.h.
void stepsizeSpareThread(int more) { exemptions += more; }

int stepsizeAllocationFails(void) {
  if (exemptions > 0) return 0;
  const long number = atomic_fetch_add(&count, 1) + 1;
  return number >= atomic_load(&first_failing) && number <= atomic_load(&last_failing);
}

static int fails(const void *caller) {
  const uintptr_t at = (uintptr_t)caller;
  return at >= atomic_load(&first_byte) && at < atomic_load(&last_byte) && stepsizeAllocationFails();
}

#define FAILS() fails(__builtin_return_address(0))

void *malloc(size_t size) {
  if (FAILS()) return errno = ENOMEM, NULL;
  return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
  if (FAILS()) return errno = ENOMEM, NULL;
  return __libc_calloc(number, size);
}

void *realloc(void *memory, size_t size) {
  if (FAILS()) return errno = ENOMEM, NULL;
  return __libc_realloc(memory, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size) {
  if (FAILS()) return ENOMEM;
  *memory = __libc_memalign(alignment, size);
  return *memory == NULL ? ENOMEM : 0;
}

void *aligned_alloc(size_t alignment, size_t size) {
  if (FAILS()) return errno = ENOMEM, NULL;
  return __libc_memalign(alignment, size);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
  static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
  if (FAILS()) return EAGAIN;
  if (real == NULL) real = (__typeof__(real))dlsym(RTLD_NEXT, "pthread_create");
  return real(thread, attributes, start, argument);
}

// Finds the addon's code: the executable segments of the library at this address.
static int find_code(struct dl_phdr_info *info, size_t size, void *address) {
  (void)size;
  if (info->dlpi_addr != *(ElfW(Addr) *)address) return 0;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
    if (segment->p_type != PT_LOAD || (segment->p_flags & PF_X) == 0) continue;
    atomic_store(&first_byte, info->dlpi_addr + segment->p_vaddr);
    atomic_store(&last_byte, info->dlpi_addr + segment->p_vaddr + segment->p_memsz);
  }
  return 1;
}

void *dlopen(const char *file, int mode) {
  static void *(*real)(const char *, int);
  if (real == NULL) real = (__typeof__(real))dlsym(RTLD_NEXT, "dlopen");
  void *library = real(file, mode);
  const char *end = ".node";
  if (library == NULL || file == NULL || strlen(file) < strlen(end)) return library;
  if (strcmp(file + strlen(file) - strlen(end), end) != 0) return library;
  struct link_map *map = NULL;
  if (dlinfo(library, RTLD_DI_LINKMAP, &map) == 0) dl_iterate_phdr(find_code, &map->l_addr);
  return library;
}

int setenv(const char *name, const char *value, int overwrite) {
  static int (*real)(const char *, const char *, int);
  if (strcmp(name, "STEPSIZE_FAIL_AT") == 0) {
    long first = 0, more = 0;
    sscanf(value, "%ld+%ld", &first, &more);
    atomic_store(&last_failing, 0);
    atomic_store(&count, 0);
    atomic_store(&first_failing, first);
    atomic_store(&last_failing, first + more);
  }
  if (real == NULL) real = (__typeof__(real))dlsym(RTLD_NEXT, "setenv");
  return real(name, value, overwrite);
}

char *getenv(const char *name) {
  static char *(*real)(const char *);
  static char text[32];
  if (strcmp(name, "STEPSIZE_ALLOCATIONS") == 0) {
    snprintf(text, sizeof text, "%ld", atomic_load(&count));
    return text;
  }
  if (real == NULL) real = (__typeof__(real))dlsym(RTLD_NEXT, "getenv");
  return real(name);
}
