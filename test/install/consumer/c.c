/* A program of somebody else's in C, built against the installed Sublet by a C compiler alone. It
 * asks for a manager that is not there and must be told so. */

#include <stdio.h>
#include <string.h>
#include <sublet.h>

int main(void) {
  sublet_options* options = NULL;
  sublet_session* session = NULL;
  sublet_options_create(&options);
  sublet_options_set(options, "manager", "unix:/nonexistent/sublet.sock");
  sublet_options_set(options, "allow_private", "false");
  const int code = sublet_session_open(options, &session);
  sublet_options_free(&options);
  printf("sublet %s, code %d: %s\n", sublet_version(), code, sublet_last_error());
  return code != SUBLET_SUCCESS && strstr(sublet_last_error(), "/nonexistent") != NULL ? 0 : 1;
}
