/* What a program in C, or in a C++ before C++20, may include. */

#include <sublet/codes.h>
#include <sublet/function_abi.h>

#include <sublet.h>

#ifdef WITH_MPI
#include <sublet_mpi.h>
#endif

#ifndef __cplusplus
#include <sublet/function.h>

SUBLET_C_FUNCTION(nothing, call) {
  (void)call;
  return 0;
}
#endif

int headers_are_usable(struct sublet_call* inside);
int headers_are_usable(struct sublet_call* inside) {
  return inside != NULL && sublet_call(NULL, NULL, 0, NULL, 0, NULL) == SUBLET_ERR_HANDLE;
}
