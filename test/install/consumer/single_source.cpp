// A program of somebody else's whose own functions run on workers, with what is installed: the
// command, its executor, and libsublet_application.so.

#include <sublet/sublet.hpp>

#include <cstdio>
#include <numeric>
#include <vector>

int main(int argc, char** argv) {
  sublet::init(argc, argv);
  try {
    auto session = sublet::Session::open().value_or_throw();
    auto lease = session.lease().value_or_throw();
    const double scale = 2;
    const std::vector<double> values{1, 2, 18};
    const auto sum = lease.call(
        [scale](std::span<const double> from) {
          return scale * std::accumulate(from.begin(), from.end(), 0.0);
        },
        sublet::in(values));
    std::printf("a worker says %g\n", sum.value());
    return sum == 42.0 ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
