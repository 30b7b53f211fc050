#ifndef SUBLET_FUNCTION_RECORD_H
#define SUBLET_FUNCTION_RECORD_H

/* The C interface between an executor and the functions of an application's own program
 * (<sublet/single_source.hpp>): each has a record, and the records are a list. Applications do not
 * use it themselves. */

#include <sublet/function_abi.h>

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SUBLET_FUNCTION_RECORD_VERSION 1

struct sublet_function_record {
  uint32_t version;     /* SUBLET_FUNCTION_RECORD_VERSION */
  uint32_t flags;       /* 0 */
  const char* name;     /* of the function and its arguments' types, as the compiler mangles it */
  uint64_t input_size;  /* bytes, 0 when it varies */
  uint64_t output_size; /* bytes, 0 when it varies */
  sublet_typed_function run;
  const struct sublet_function_record* next; /* NULL in the last one */
};

/* The first one, NULL when there is none. Executors look this name up in the program. */
__attribute__((visibility("default"))) const struct sublet_function_record*
sublet_application_records(void);

#ifdef __cplusplus
}
#endif

#endif /* SUBLET_FUNCTION_RECORD_H */
