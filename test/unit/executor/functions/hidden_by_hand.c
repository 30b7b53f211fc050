/* A typed function and its description as a C programmer writes them; the version script hides the
 * description. */
#include <sublet/function_abi.h>

const struct sublet_function_info sublet_function_info_add_one = {SUBLET_FUNCTION_ABI_VERSION, 0, 8,
                                                                  8};

int32_t add_one(struct sublet_call* call) {
  *(uint64_t*)call->output = *(const uint64_t*)call->input + 1;
  call->output_size = sizeof(uint64_t);
  return 0;
}
