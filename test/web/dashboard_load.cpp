// dashboard_load LIBRARY SEED [UID]: leases cores, calls functions and gives them back, again and
// again until it is ended; as the user UID where root has started it.
#include <sublet/sublet.hpp>

#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

std::uint32_t between(std::mt19937& random, std::uint32_t least, std::uint32_t most) {
  return std::uniform_int_distribution<std::uint32_t>(least, most)(random);
}

/// One lease, from its request to its end.
void use_a_lease(sublet::Session& session, const std::string& library, std::mt19937& random) {
  sublet::LeaseRequest request;
  request.cores = between(random, 1, 12);
  request.memory_bytes = 32u << 20;
  request.arena_bytes = 1u << 20;
  request.duration = std::chrono::seconds(between(random, 60, 600));
  request.hot_timeout = 1ms;
  request.placement = sublet::Placement::kSpread;
  request.wait = 30s;
  auto lease = session.lease(request);
  if (!lease) {
    std::cerr << lease.error().what() << "\n";
    return;
  }
  auto compute = lease->function(library, "compute");
  if (!compute) {
    std::cerr << compute.error().what() << "\n";
    return;
  }
  const auto end = steady_clock::now() + std::chrono::seconds(between(random, 5, 40));
  while (steady_clock::now() < end) {
    const std::uint32_t us = between(random, 20, 500);
    std::uint32_t rounds = 0;
    for (int i = 0; i < 20; ++i) {
      if (!compute->call(&us, sizeof(us), &rounds, sizeof(rounds)).ok()) return;
    }
    ::usleep(20'000);  // tidy-allow: a load that leaves the machine room
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "dashboard_load LIBRARY SEED [UID]\n";
    return 2;
  }
  if (argc > 3 && ::setuid(static_cast<uid_t>(std::atoi(argv[3]))) != 0) {
    std::cerr << "becoming uid " << argv[3] << ": only root can\n";
    return 1;
  }
  std::mt19937 random(static_cast<unsigned>(std::atoi(argv[2])));
  auto session = sublet::Session::open();
  if (!session) {
    std::cerr << session.error().what() << "\n";
    return 1;
  }
  for (;;) use_a_lease(*session, argv[1], random);
}
