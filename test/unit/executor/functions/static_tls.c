// Thread-local memory of the kind that only programs and what they link may have.
#include <stdint.h>

static __thread volatile char large[1 << 16] __attribute__((tls_model("initial-exec")));

__attribute__((visibility("default"))) uint32_t touch(void* args, uint32_t size, void* res) {
  (void)args;
  (void)res;
  large[size] = 1;
  return 0;
}
