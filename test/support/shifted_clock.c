/* Preloaded into a program of a test: its wall clock is ahead by $SUBLET_TEST_SHIFT_S seconds. */

#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec* time) {
  const long result = syscall(SYS_clock_gettime, clock, time);
  const char* const shift = getenv("SUBLET_TEST_SHIFT_S");
  if (result == 0 && clock == CLOCK_REALTIME && shift != NULL) time->tv_sec += atol(shift);
  return (int)result;
}
