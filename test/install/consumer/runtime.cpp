// A program of somebody else's, built against the installed Sublet. It asks for a manager that is
// not there and must be told so.

#include <sublet/sublet.hpp>

#include <cstdio>
#include <cstring>
#include <string>

int main() {
  const std::string nobody = "unix:/nonexistent/sublet.sock";
  sublet::SessionOptions options;
  options.manager = nobody;
  options.allow_private = false;
  const auto session = sublet::Session::open(options);
  if (session.has_value()) {
    std::puts("opened a session with a manager that does not exist");
    return 1;
  }
  std::printf("sublet %s, status %s: %s\n", SUBLET_VERSION, sublet::to_string(sublet::Status::kOk),
              session.error().what());
  return std::strstr(session.error().what(), nobody.c_str()) != nullptr ? 0 : 1;
}
