// A program that leases cores and calls a function there: what `sublet lease` runs in tests.
//   lease_user LIBRARY CORES MILLISECONDS EXIT_CODE [WAIT_MS]

#include <sublet/sublet.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
  if (argc < 5) return 90;
  const auto session = sublet::Session::open();
  if (!session) {
    std::printf("no session: %s\n", session.error().what());
    return 91;
  }
  sublet::LeaseRequest request;
  request.cores = static_cast<std::uint32_t>(std::atoi(argv[2]));
  if (argc > 5) request.wait = std::chrono::milliseconds(std::atoi(argv[5]));
  auto lease = sublet::Session(*session).lease(request);
  if (!lease) {
    std::printf("no lease: %s\n", lease.error().what());
    return 92;
  }
  auto spin = lease->function(argv[1], "spin_ms");
  if (!spin) {
    std::printf("no function: %s\n", spin.error().what());
    return 93;
  }
  std::uint32_t ms = static_cast<std::uint32_t>(std::atoi(argv[3]));
  std::uint32_t done = 0;
  const auto reply = spin->call(&ms, 4, &done, 4);
  std::printf("lease %llu, %zu workers, %s\n", static_cast<unsigned long long>(lease->id()),
              lease->workers(), reply.ok() && done == ms ? "works" : "does not work");
  return std::atoi(argv[4]);
}
