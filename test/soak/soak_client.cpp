// A client of the soak: leases, calls, looks at what comes back, gives back, and begins anew,
// whatever happens to its managers and executors. usage: soak_client SEED

#include "report.hpp"
#include <base/shared_memory.hpp>
#include <sublet/sublet.hpp>

#include <poll.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace sublet::test {
namespace {

using namespace std::chrono_literals;

/// No call may take longer: functions take microseconds, lost nodes are noticed within 5 s.
constexpr auto kEndless = 60s;

constexpr std::size_t kWindow = 6;  ///< More than the slots, so that some calls wait.
constexpr std::size_t kMostBytes = 20'000;

class Client {
 public:
  Client(SoakReport& report, unsigned seed) : report_(report), random_(seed) {}

  void run() {
    while (!report_.stop) {
      if (!work_once()) ::poll(nullptr, 0, 20);  // tidy-allow: the interval of asking again
    }
  }

 private:
  bool work_once() {
    auto options = SessionOptions::load();
    if (!options) return false;
    auto session = Session::open(*options);
    if (!session) return false;
    auto lease = session->lease({.cores = 1, .arena_bytes = 4u << 20, .slots = 4});
    if (!lease) return false;
    auto echo = lease->function(SOAK_FUNCTIONS, "echo");
    if (!echo) return false;
    for (int batch = 0; batch < 100 && !report_.stop; ++batch) {
      if (!call_some(*echo)) return false;
    }
    return true;
  }

  struct One {
    std::vector<char> in;
    std::vector<char> out;
    Call call;
  };

  bool call_some(Function& echo) {
    std::array<One, kWindow> window;
    for (One& one : window) {
      const std::size_t size = 1 + random_() % kMostBytes;
      one.in.assign(size, static_cast<char>(++number_));
      one.out.assign(size, static_cast<char>(number_ + 1));
      one.call = echo.async(one.in.data(), size, one.out.data(), size);
    }
    bool good = true;
    for (One& one : window) {
      const Reply reply = one.call.wait_for(kEndless);
      if (reply.status == Status::kDeadline) {
        ++report_.endless;
        std::_Exit(1);  // its memory must not go
      }
      if (!reply.ok()) {
        good = false;
        ++report_.failed;
      } else if (reply.size != one.in.size() || one.in != one.out) {
        good = false;
        if (report_.wrong++ == 0) {
          std::snprintf(report_.first_wrong.data(), report_.first_wrong.size(),
                        "%zu bytes asked, %zu came", one.in.size(),
                        static_cast<std::size_t>(reply.size));
        }
      } else {
        ++report_.calls;
      }
    }
    return good;
  }

  SoakReport& report_;
  std::mt19937 random_;
  unsigned number_ = 0;
};

}  // namespace
}  // namespace sublet::test

int main(int argc, char** argv) {
  using sublet::test::SoakReport;
  if (argc != 2) return 2;
  auto memory =
      sublet::base::SharedMemory::map(sublet::base::Fd(SoakReport::kFd), sizeof(SoakReport));
  if (!memory) {
    std::fprintf(stderr, "soak_client: %s\n", memory.error().what());
    return 2;
  }
  auto* const report = reinterpret_cast<SoakReport*>(memory->data());
  sublet::test::Client(*report, static_cast<unsigned>(std::atol(argv[1]))).run();
  return 0;
}
