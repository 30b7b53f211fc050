/* Built for a version of the interface that does not exist yet. */
#include <sublet/function_abi.h>
const struct sublet_function_info sublet_function_info_from_the_future = {99, 0, 0, 0};
int32_t from_the_future(struct sublet_call* call);
int32_t from_the_future(struct sublet_call* call) {
  (void)call;
  return 0;
}
