#ifndef SUBLET_FUNCTION_ABI_H
#define SUBLET_FUNCTION_ABI_H

/* The C interface between an executor and a function library. Two forms of function:
 *
 *   rFaaS form   uint32_t f(void* args, uint32_t size, void* res);
 *                Reads `size` bytes at args, writes its result at res, returns the bytes written.
 *                It is not told how much room res has; keep to what the caller agreed on.
 *
 *   typed form   int32_t f(struct sublet_call* call);
 *                64-bit sizes, knows its output's capacity, reports errors. Marked by a companion
 *                symbol of type sublet_function_info named sublet_function_info_<f>; the macros in
 *                <sublet/function.hpp> write it.
 */

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SUBLET_FUNCTION_ABI_VERSION 1

typedef uint32_t (*sublet_rfaas_function)(void* args, uint32_t size, void* res);

/* One invocation as a typed function sees it. All memory belongs to the executor and is valid
 * until the function returns. */
struct sublet_call {
  const void* input;
  uint64_t input_size; /* bytes */
  void* output;
  uint64_t output_capacity; /* bytes */
  uint64_t output_size;     /* bytes; set by the function, at most output_capacity */
  char* error_text;         /* set by the function when it fails; zero-terminated */
  uint64_t error_capacity;  /* bytes, with the zero */
};

/* Returns 0 on success. SUBLET_OUTPUT_TOO_LARGE says that output_capacity does not hold the result
 * (output_size then says what would); any other value is the function's own error code. */
typedef int32_t (*sublet_typed_function)(struct sublet_call* call);

#define SUBLET_OUTPUT_TOO_LARGE ((int32_t)-1)

struct sublet_function_info {
  uint32_t abi_version; /* SUBLET_FUNCTION_ABI_VERSION */
  uint32_t flags;       /* 0 */
  uint64_t input_size;  /* sizeof the input type, 0 when it varies */
  uint64_t output_size; /* sizeof the output type, 0 when it varies */
};

#if defined(__has_attribute)
#if __has_attribute(retain)
#define SUBLET_DETAIL_KEPT used, retain
#endif
#endif
#ifndef SUBLET_DETAIL_KEPT
#define SUBLET_DETAIL_KEPT used
#endif

/* Names the image of the containers that the functions of this library, or of this program, run in
 * where a node's executors run in containers: SUBLET_IMAGE("docker.io/library/debian:12"). Once, at
 * namespace scope. Other nodes do not look at it. */
#define SUBLET_IMAGE(name)                \
  __attribute__((section("sublet_image"), \
                 SUBLET_DETAIL_KEPT)) static const char sublet_image_name[] = name

#ifdef __cplusplus
}
#endif

#endif /* SUBLET_FUNCTION_ABI_H */
