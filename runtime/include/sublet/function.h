#ifndef SUBLET_FUNCTION_H
#define SUBLET_FUNCTION_H

/* For authors of function libraries in C (C++ has <sublet/function.hpp>):
 *
 *   #include <sublet/function.h>
 *   struct point { double x, y; };
 *   SUBLET_C_FUNCTION(norm, call) {
 *     const struct point* p = SUBLET_C_INPUT(call, struct point);
 *     double* result = SUBLET_C_OUTPUT(call, double, 1);
 *     if (p == NULL) return sublet_call_fail(call, 1, "one point is expected");
 *     if (result == NULL) return SUBLET_OUTPUT_TOO_LARGE;
 *     *result = hypot(p->x, p->y);
 *     return 0;
 *   }
 *
 * exports `norm` in the typed form (<sublet/function_abi.h>). Compile with -shared -fPIC; nothing
 * of Sublet is linked. */

#include <sublet/function_abi.h>

#include <stddef.h>

#ifdef __cplusplus
#error "for C++ there is <sublet/function.hpp>"
#endif

#if defined(__has_attribute)
#if __has_attribute(retain)
#define SUBLET_DETAIL_C_RETAIN , retain
#endif
#endif
#ifndef SUBLET_DETAIL_C_RETAIN
#define SUBLET_DETAIL_C_RETAIN
#endif

/* Defines and exports a typed function. `call` is a struct sublet_call*; return 0, a code of your
 * own (not -1), or SUBLET_OUTPUT_TOO_LARGE. The description is written down twice, as C++'s macro
 * does: in the section it is found too where a version script hides the symbol. */
#define SUBLET_C_FUNCTION(name, call)                                                              \
  __attribute__((visibility(                                                                       \
      "default"))) extern const struct sublet_function_info sublet_function_info_##name;           \
  const struct sublet_function_info sublet_function_info_##name = {SUBLET_FUNCTION_ABI_VERSION, 0, \
                                                                   0, 0};                          \
  __attribute__((section("sublet_functions"), used,                                                \
                 aligned(8) SUBLET_DETAIL_C_RETAIN)) static const struct {                         \
    struct sublet_function_info info;                                                              \
    char function[sizeof(#name)];                                                                  \
  } sublet_description_##name = {{SUBLET_FUNCTION_ABI_VERSION, 0, 0, 0}, #name};                   \
  __attribute__((visibility("default"))) int32_t name(struct sublet_call* call);                   \
  int32_t name(struct sublet_call* call)

/* The input as a const TYPE*, NULL when it does not have the size of one. */
#define SUBLET_C_INPUT(call, TYPE) \
  ((const TYPE*)((call)->input_size == sizeof(TYPE) ? (call)->input : NULL))

/* The input as an array of TYPE, and the number of its elements; the rest that fills none is left
 * out. */
#define SUBLET_C_INPUTS(call, TYPE) ((const TYPE*)(call)->input)
#define SUBLET_C_COUNT(call, TYPE) ((size_t)((call)->input_size / sizeof(TYPE)))

/* Room for `count` elements of TYPE, which become the output, as a TYPE*. NULL when the caller's
 * buffer is too small: return SUBLET_OUTPUT_TOO_LARGE then. */
#define SUBLET_C_OUTPUT(call, TYPE, count) \
  ((TYPE*)sublet_call_output((call), (count), sizeof(TYPE)))

static inline void* sublet_call_output(struct sublet_call* call, uint64_t count, uint64_t size) {
  call->output_size = count > UINT64_MAX / size ? UINT64_MAX : count * size;
  return call->output_size <= call->output_capacity ? call->output : NULL;
}

/* Makes `text` what the caller is told, and returns `code`: neither 0 nor -1. */
static inline int32_t sublet_call_fail(struct sublet_call* call, int32_t code, const char* text) {
  uint64_t i = 0;
  if (call->error_capacity == 0) return code;
  for (; i + 1 < call->error_capacity && text[i] != '\0'; ++i) call->error_text[i] = text[i];
  call->error_text[i] = '\0';
  return code;
}

#endif /* SUBLET_FUNCTION_H */
