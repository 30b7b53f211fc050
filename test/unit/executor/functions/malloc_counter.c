/* Preloaded into an executor: counts allocations per thread. */
#include <stddef.h>
#include <stdint.h>

void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);

static __thread uint64_t count __attribute__((tls_model("initial-exec")));

uint64_t sublet_test_allocations(void) {
  return count;
}

void* malloc(size_t size) {
  ++count;
  return __libc_malloc(size);
}
void* calloc(size_t n, size_t size) {
  ++count;
  return __libc_calloc(n, size);
}
void* realloc(void* p, size_t size) {
  ++count;
  return __libc_realloc(p, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  ++count;
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** p, size_t alignment, size_t size) {
  ++count;
  *p = __libc_memalign(alignment, size);
  return *p == NULL ? 12 : 0;
}
void free(void* p) {
  ++count;
  __libc_free(p);
}
