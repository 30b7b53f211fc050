// Calls that overlap: one started by hand, one with a continuation, and a batch spread over all
// workers of the lease. Input and output live in the lease's arena, so nothing is copied.
//
//   async_batch [LIBRARY]

#include "slice.hpp"
#include <sublet/sublet.hpp>

#include <chrono>
#include <cmath>
#include <iostream>
#include <numbers>
#include <numeric>
#include <vector>

namespace {

constexpr std::size_t kSlices = 64;
constexpr std::uint64_t kPointsPerSlice = 20'000;

Slice slice(std::size_t index) {
  const double width = 1.0 / kSlices;
  return {static_cast<double>(index) * width, width, kPointsPerSlice};
}

int run(const sublet::SessionOptions& options, const char* library) {
  auto session = sublet::Session::open(options).value_or_throw();
  // As many workers as are free, up to two.
  auto lease = session.lease({.cores = 2});
  if (!lease) lease = session.lease({.cores = 1});
  auto workers = std::move(lease).value_or_throw();
  auto integrate = workers.function(library, "integrate").value_or_throw();

  auto slices = workers.buffer<Slice>(kSlices).value_or_throw();
  auto areas = workers.buffer<double>(kSlices).value_or_throw();
  for (std::size_t i = 0; i < kSlices; ++i) slices[i] = slice(i);

  // 1. Start a call, do something else, then wait for it.
  sublet::Call first = integrate.async(&slices[0], sizeof(Slice), &areas[0], sizeof(double));
  const double meanwhile = std::sqrt(2.0);
  if (const sublet::Reply reply = first.wait(); !reply.ok()) {
    std::cerr << first.error() << '\n';
    return 1;
  }
  std::cout << "async: slice 0 is " << areas[0] << " (and sqrt 2 is " << meanwhile << ")\n";

  // 2. Start a call and say what to do once it has ended.
  integrate.async(&slices[1], sizeof(Slice), &areas[1], sizeof(double))
      .then([&](const sublet::Reply& reply) {
        std::cout << "then:  slice 1 is " << areas[1] << ", computed by worker " << reply.worker
                  << '\n';
      });
  if (!workers.wait_all(std::chrono::seconds(10))) return 1;

  // 3. A batch: each worker gets its next slice when it has room.
  std::vector<sublet::BatchItem> items(kSlices);
  for (std::size_t i = 0; i < kSlices; ++i) {
    items[i].in = &slices[i];
    items[i].in_size = sizeof(Slice);
    items[i].out = &areas[i];
    items[i].out_capacity = sizeof(double);
  }
  const auto report = integrate.batch(items, std::chrono::seconds(30)).value_or_throw();
  if (report.failed != 0) {
    std::cerr << report.first_error << '\n';
    return 1;
  }
  const double pi = std::accumulate(areas.begin(), areas.end(), 0.0);
  std::vector<std::size_t> share(workers.workers());
  for (const auto& item : items) ++share[item.reply.worker];
  std::cout.precision(12);
  std::cout << "batch: " << report.ok << " slices give pi = " << pi << '\n';
  for (std::size_t w = 0; w < share.size(); ++w) {
    std::cout << "       worker " << w << " on core " << workers.worker(w).cpuset << " did "
              << share[w] << '\n';
  }
  return std::abs(pi - std::numbers::pi) < 1e-9 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) try {
  const auto options = sublet::SessionOptions::load(&argc, argv).value_or_throw();
  return run(options, argc > 1 ? argv[1] : ASYNC_BATCH_FUNCTIONS);
} catch (const sublet::Error& error) {
  std::cerr << "async_batch: " << error.what() << '\n';
  return 1;
}
