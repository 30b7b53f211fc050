// As -Ofast does with flush-to-zero: loading it changes how numbers are computed.
#include <fenv.h>
#include <stdint.h>
#include <string.h>

__attribute__((constructor)) static void round_up(void) {
  fesetround(FE_UPWARD);
}

uint32_t rounding(void* args, uint32_t size, void* res);
uint32_t rounding(void* args, uint32_t size, void* res) {
  (void)args;
  (void)size;
  const int32_t mode = fegetround();
  memcpy(res, &mode, sizeof(mode));
  return sizeof(mode);
}
