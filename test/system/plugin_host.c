/* plugin_host local|global PLUGIN: a program that knows nothing of Sublet, and runs a plug-in that
 * does. */

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char** argv) {
  int (*run)(void) = NULL;
  puts("main runs");
  fflush(stdout);
  if (argc != 3) return 2;
  void* plugin =
      dlopen(argv[2], RTLD_NOW | (strcmp(argv[1], "global") == 0 ? RTLD_GLOBAL : RTLD_LOCAL));
  if (plugin == NULL) {
    puts(dlerror());
    return 2;
  }
  *(void**)&run = dlsym(plugin, "run_plugin");
  return run == NULL ? 2 : run();
}
