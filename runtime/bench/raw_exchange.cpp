#include "raw_exchange.hpp"

#include "cpus.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <string>
#include <utility>

namespace sublet::bench {
namespace {

constexpr std::uint32_t kAsleep = 0;
struct Ready {};

std::uint32_t* word_of(std::atomic<std::uint32_t>& word) {
  return reinterpret_cast<std::uint32_t*>(&word);
}

}  // namespace

RawControl& RawExchange::control() noexcept {
  return *std::launder(reinterpret_cast<RawControl*>(memory_.data()));
}

Result<void> RawExchange::launch(std::size_t max_size) {
  auto memory = base::SharedMemory::create("sublet-bench", sizeof(RawControl),
                                           base::SharedMemory::Pages::kSmall);
  if (!memory) return tl::unexpected<Error>(std::move(memory.error()));
  memory_ = std::move(*memory);
  new (memory_.data()) RawControl{};
  max_size_ = std::max<std::size_t>(max_size, 1);
  if (auto prepared = prepare(); !prepared) return prepared;
  auto process =
      base::HelperProcess::start([this](base::HelperLink& client) { run_server(client); });
  if (!process) return tl::unexpected<Error>(std::move(process.error()));
  server_ = std::move(*process);
  if (auto opened = open_client(server_.link()); !opened) return opened;
  if (auto ready = server_.link().hear<Ready>(kOpenLimit); !ready) {
    return tl::unexpected<Error>(std::move(ready.error()));
  }
  return {};
}

void RawExchange::run_server(base::HelperLink& client) {
  const auto opened = open_server(client);
  // Fails only when the client has ended, and this process with it.
  (void)(opened ? client.tell(Ready{}) : client.tell_failure(opened.error()));
  if (!opened) ::_exit(1);
  for (std::uint32_t done = 0;;) {
    std::uint32_t command = 0;
    while ((command = control().command.load(std::memory_order_acquire)) == done) {
      ::syscall(SYS_futex, word_of(control().command), FUTEX_WAIT, done, nullptr, nullptr, 0);
    }
    done = command;
    const RawKind kind = control().kind;
    const std::size_t size = control().size;
    control().state.store(command, std::memory_order_release);
    if (!serve(kind, size)) ::_exit(1);
    control().state.store(kAsleep, std::memory_order_release);
  }
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
              server_.link().other_has_ended()
                  ? std::string("the bare exchange's server process has ended; it was killed, or "
                                "its connection broke")
                  : "the bare exchange's server (process " + std::to_string(server_.pid()) +
                        ") does not answer, or sent other bytes back; is it stopped, or its core "
                        "taken?");
}

Result<void> RawExchange::await_state(std::uint32_t state) {
  constexpr std::uint32_t kLooksPerCheck = 1u << 10;
  waiting_since_ = 0;
  const bool reached = spin<kLooksPerCheck>([&] {
    if (control().state.load(std::memory_order_acquire) == state) return 1;
    base::cpu_pause();
    return push_out() ? 0 : -1;
  });
  if (!reached) return server_gone();
  return {};
}

Result<void> RawExchange::begin(RawKind kind, std::size_t size) {
  if (size > max_size_) return fail(ErrorKind::kInternal, "bare exchange larger than its area");
  size_ = size;
  control().kind = kind;
  control().size = size;
  control().stopping.store(0, std::memory_order_relaxed);
  reset(kind);
  if (++commands_ == kAsleep) ++commands_;
  control().command.store(commands_, std::memory_order_release);
  ::syscall(SYS_futex, word_of(control().command), FUTEX_WAKE, 1, nullptr, nullptr, 0);
  return await_state(commands_);
}

Result<void> RawExchange::end() {
  control().stopping.store(1, std::memory_order_release);
  if (!stop()) return server_gone();
  return await_state(kAsleep);
}

Result<double> RawExchange::write_bandwidth(std::size_t size, std::uint64_t count,
                                            std::size_t window) {
  if (window * stream_stride(size) > max_size_) {
    return fail(ErrorKind::kInternal, "bare stream larger than its area");
  }
  const base::Ticks start = base::ticks();
  if (!stream(size, count, window)) return server_gone();
  return per_second(size * count, base::TickRate::get().to_ns(base::ticks() - start));
}

}  // namespace sublet::bench
