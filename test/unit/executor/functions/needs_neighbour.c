// The rFaaS form; needs a library that lies beside it.
#include <stdint.h>

int neighbour(int x);

__attribute__((visibility("default"))) uint32_t use_neighbour(void* args, uint32_t size,
                                                              void* res) {
  (void)args;
  *(uint32_t*)res = (uint32_t)neighbour((int)size);
  return sizeof(uint32_t);
}
