#include "raw_exchange.hpp"

#include "cpus.hpp"
#include "statistics.hpp"
#include <base/clock.hpp>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <ctime>
#include <new>
#include <string>
#include <vector>

namespace sublet::bench {
namespace {

constexpr std::size_t kPage = 4096;

std::uint32_t* low_half(std::atomic<std::uint64_t>& word) {
  return reinterpret_cast<std::uint32_t*>(&word);
}

void futex_wait(std::uint32_t* word, std::uint32_t seen) {
  ::syscall(SYS_futex, word, FUTEX_WAIT, seen, nullptr, nullptr, 0);
}

void futex_wake(std::uint32_t* word) {
  ::syscall(SYS_futex, word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

// ---- the server's side ----

struct Server {
  RawControl* control;
  RawFlag* request;
  RawFlag* reply;
  const std::byte* request_payload;
  std::byte* reply_payload;

  [[noreturn]] void run();
  void serve_line();
  void serve_hot(std::size_t size);
  void serve_warm(std::size_t size);
  void serve_stream(std::size_t size);
  void answer(std::uint64_t number, std::size_t size) {
    if (size > kFlagBytes) std::memcpy(reply_payload, request_payload, size);
    reply->value.store(number, std::memory_order_release);
  }
};

void Server::run() {
  std::uint32_t done = 0;
  for (;;) {
    std::uint32_t command = 0;
    while ((command = control->command.load(std::memory_order_acquire)) == done) {
      futex_wait(reinterpret_cast<std::uint32_t*>(&control->command), done);
    }
    done = command;
    const RawKind kind = control->kind;
    const std::size_t size = control->size;
    control->state.store(command, std::memory_order_release);
    if (kind == RawKind::kLine) serve_line();
    if (kind == RawKind::kHot) serve_hot(size);
    if (kind == RawKind::kWarm) serve_warm(size);
    if (kind == RawKind::kStream) serve_stream(size);
    control->state.store(kAsleep, std::memory_order_release);
  }
}

void Server::serve_line() {
  std::uint64_t next = 1;  // the client writes the odd numbers, this side the even ones
  for (;;) {
    const std::uint64_t seen = control->line.value.load(std::memory_order_acquire);
    if (seen == kStop) return;
    if (seen != next) {
      base::cpu_pause();
      continue;
    }
    control->line.value.store(next + 1, std::memory_order_release);
    next += 2;
  }
}

void Server::serve_hot(std::size_t size) {
  std::uint64_t last = 0;
  for (;;) {
    const std::uint64_t number = request->value.load(std::memory_order_acquire);
    if (number == last) {
      base::cpu_pause();
      continue;
    }
    if (number == kStop) return;
    last = number;
    answer(number, size);
  }
}

void Server::serve_warm(std::size_t size) {
  std::uint64_t last = 0;
  for (;;) {
    std::uint64_t number = 0;
    while ((number = request->value.load(std::memory_order_acquire)) == last) {
      futex_wait(low_half(request->value), static_cast<std::uint32_t>(last));
    }
    if (number == kStop) return;
    last = number;
    answer(number, size);
  }
}

void Server::serve_stream(std::size_t size) {
  auto* const answers = reinterpret_cast<std::uint64_t*>(reply_payload);
  std::uint64_t last = 0;
  for (;;) {
    const std::uint64_t number = request->value.load(std::memory_order_acquire);
    if (number == kStop) return;
    if (number == last) base::cpu_pause();
    while (last != number) {
      const std::size_t place = ++last % control->window.load(std::memory_order_relaxed);
      answers[place] = ends_of(request_payload + place * stream_stride(size), size);
      reply->value.store(last, std::memory_order_release);
    }
  }
}

}  // namespace

// ---- the client's side ----

Result<RawExchange> RawExchange::start(std::size_t max_size) {
  // Request and reply start at the same place of a page: a copy between them then never reads just
  // behind a write that the processor takes for the same address.
  const std::size_t side = (kAlone + max_size + kPage - 1) / kPage * kPage;
  auto memory = base::SharedMemory::create("sublet-bench", kPage + 2 * side,
                                           base::SharedMemory::Pages::kHuge);
  if (!memory) return tl::unexpected<Error>(std::move(memory.error()));

  RawExchange raw;
  raw.memory_ = std::move(*memory);
  raw.max_size_ = max_size;
  std::byte* const base = raw.memory_.data();
  static_assert(sizeof(RawControl) <= kPage);
  new (base) RawControl{};
  raw.request_ = new (base + kPage) RawFlag{};
  raw.reply_ = new (base + kPage + side) RawFlag{};
  raw.request_payload_ = base + kPage + kAlone;
  raw.reply_payload_ = base + kPage + side + kAlone;

  Server server{&raw.control(), raw.request_, raw.reply_, raw.request_payload_, raw.reply_payload_};
  auto process = HelperProcess::start([&server] { server.run(); });
  if (!process) return tl::unexpected<Error>(std::move(process.error()));
  raw.server_ = std::move(*process);
  return raw;
}

RawControl& RawExchange::control() noexcept {
  return *std::launder(reinterpret_cast<RawControl*>(memory_.data()));
}

Result<void> RawExchange::pin_server(int cpu) {
  return pin(server_.pid(), cpu);
}

bool RawExchange::server_is_there() noexcept {
  if (!server_.alive()) return false;
  const base::Ticks now = base::ticks();
  if (waiting_since_ == 0) waiting_since_ = now;
  return now - waiting_since_ < base::TickRate::get().from(kRawExchangeLimit);
}

tl::unexpected<Error> RawExchange::server_gone() const {
  return fail(ErrorKind::kInternal,
              server_.alive()
                  ? "the raw exchange's server (process " + std::to_string(server_.pid()) +
                        ") does not answer; is it stopped, or its core taken?"
                  : std::string("the raw exchange's server process has ended; it was killed"));
}

Result<void> RawExchange::begin(RawKind kind, std::size_t size) {
  if (size > max_size_) return fail(ErrorKind::kInternal, "raw exchange larger than its area");
  number_ = 0;
  size_ = size;
  request_->value.store(0, std::memory_order_relaxed);
  reply_->value.store(0, std::memory_order_relaxed);
  control().line.value.store(0, std::memory_order_relaxed);
  control().kind = kind;
  control().size = size;
  if (++commands_ == kAsleep) ++commands_;
  control().command.store(commands_, std::memory_order_release);
  futex_wake(reinterpret_cast<std::uint32_t*>(&control().command));
  if (!await(control().state, commands_)) return server_gone();
  return {};
}

Result<void> RawExchange::end() {
  control().line.value.store(kStop, std::memory_order_release);
  request_->value.store(kStop, std::memory_order_release);
  futex_wake(low_half(request_->value));
  if (!await(control().state, kAsleep)) return server_gone();
  return {};
}

bool RawExchange::exchange_warm(const std::byte* in, std::byte* out) noexcept {
  const std::uint64_t number = ++number_;
  if (size_ > kFlagBytes) std::memcpy(request_payload_, in, size_);
  request_->value.store(number, std::memory_order_release);
  futex_wake(low_half(request_->value));
  if (!await(reply_->value, number)) return false;
  if (size_ > kFlagBytes) {
    std::memcpy(out, reply_payload_, size_);
  } else {
    std::memcpy(out, &number, size_);
  }
  return true;
}

Result<double> RawExchange::write_bandwidth(std::size_t size, std::uint64_t count,
                                            std::size_t window) {
  const std::size_t stride = stream_stride(size);
  if (window * stride > max_size_) {
    return fail(ErrorKind::kInternal, "raw stream larger than its area");
  }
  if (source_.size() != size) source_ = StreamSource(size, request_payload_);
  const std::uint64_t expected = ends_of(source_.data(), size);
  const auto* const answers = reinterpret_cast<const std::uint64_t*>(reply_payload_);
  const auto answered = [&](std::uint64_t number) {
    return spin_until([&] { return reply_->value.load(std::memory_order_acquire) >= number; }) &&
           answers[number % window] == expected;
  };
  control().window.store(window, std::memory_order_relaxed);  // nothing is under way
  const std::uint64_t before = number_;
  const base::Ticks start = base::ticks();
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t number = ++number_;
    if (number > before + window && !answered(number - window)) return server_gone();
    std::memcpy(request_payload_ + number % window * stride, source_.data(), size);
    request_->value.store(number, std::memory_order_release);
  }
  if (!answered(number_)) return server_gone();
  const auto ns = base::TickRate::get().to_ns(base::ticks() - start);
  return static_cast<double>(size * count) * 1e9 / static_cast<double>(ns);
}

bool RawExchange::bounce(std::uint64_t& word) noexcept {
  control().line.value.store(++word, std::memory_order_release);
  return await(control().line.value, ++word);
}

Result<double> RawExchange::bounced_line_ns() {
  constexpr int kGroups = 9;
  constexpr int kBouncesPerGroup = 64;
  if (auto begun = begin(RawKind::kLine, 0); !begun) return tl::unexpected<Error>(begun.error());
  std::vector<double> groups;
  std::uint64_t word = 0;
  for (int group = 0; group < kGroups; ++group) {
    const base::Ticks start = base::ticks();
    for (int i = 0; i < kBouncesPerGroup; ++i) {
      if (!bounce(word)) return server_gone();
    }
    const auto ns = base::TickRate::get().to_ns(base::ticks() - start);
    groups.push_back(static_cast<double>(ns) / (2.0 * kBouncesPerGroup));
  }
  if (auto ended = end(); !ended) return tl::unexpected<Error>(ended.error());
  return median(std::move(groups));
}

}  // namespace sublet::bench
