// LIBRARY FUNCTION [MORE_LIBRARY]: leases a worker and calls the function, an uint64 each way.
// Prints one line for each step, and how the session's thread masks its signals, before and after.

#include <sublet/sublet.hpp>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace {

int failed(const char* what, const sublet::Error& error) {
  std::printf("%s: %s: %s\n", what, to_string(error.kind()), error.what());
  return 1;
}

bool mask_is_empty() {
  sigset_t mask;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  return sigisemptyset(&mask) != 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 64;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  int code = 0;
  [&] {
    auto session = sublet::Session::open();
    if (!session) return void(code = failed("session", session.error()));
    auto lease = session->lease({.cores = 1});
    if (!lease) return void(code = failed("lease", lease.error()));
    std::printf("worker: %s cpuset %s transport %s\n", lease->worker(0).node_name.c_str(),
                lease->worker(0).cpuset.c_str(), lease->worker(0).transport.c_str());
    auto function = lease->function(argv[1], argv[2]);
    if (!function) return void(code = failed("function", function.error()));
    for (std::uint64_t in = 0; in < 2; ++in) {
      std::uint64_t out = 0;
      const sublet::Reply reply = function->call(&in, sizeof(in), &out, sizeof(out));
      std::printf("call: %s %s\n", to_string(reply.status),
                  reply.ok() ? "" : function->last_error().c_str());
      if (!reply.ok()) code = 1;
    }
    if (argc > 3) {  // hold the lease until the other end of stdin is closed
      std::puts("holding");
      (void)std::getchar();
    }
  }();
  if (!mask_is_empty()) {
    std::puts("the signal mask has changed");
    code = 2;
  }
  return code;
}
