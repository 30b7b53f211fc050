/* Has an exit handler, registered while it is loaded, that crashes. */
#include <stdlib.h>
unsigned leave(void* args, unsigned size, void* res);
unsigned leave(void* args, unsigned size, void* res) {
  (void)args, (void)size, (void)res;
  exit(6);
}
static void crash(void) {
  *(volatile int*)0x7777 = 1;
}
__attribute__((constructor)) static void start(void) {
  atexit(crash);
}
