#ifndef SUBLET_TEST_CHECK_H
#define SUBLET_TEST_CHECK_H

/* Checks for tests that are written in C: a failure is said and counted, and the program goes on.
 */

#include <stdio.h>

static int failures = 0;

#define CHECK(condition)                                                                     \
  do {                                                                                       \
    if (!(condition)) {                                                                      \
      ++failures;                                                                            \
      fprintf(stderr, "%s:%d: not so: %s; last error: %s\n", __FILE__, __LINE__, #condition, \
              sublet_last_error());                                                          \
    }                                                                                        \
  } while (0)

#define CHECK_CODE(expected, call)                                                             \
  do {                                                                                         \
    const int code_ = (call);                                                                  \
    if (code_ != (expected)) {                                                                 \
      ++failures;                                                                              \
      fprintf(stderr, "%s:%d: %s gives %d (%s), not %s; last error: %s\n", __FILE__, __LINE__, \
              #call, code_, sublet_error_string(code_), #expected, sublet_last_error());       \
    }                                                                                          \
  } while (0)

#define CHECK_OK(call) CHECK_CODE(SUBLET_SUCCESS, call)

#endif /* SUBLET_TEST_CHECK_H */
