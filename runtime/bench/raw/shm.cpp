// The bare exchange over shared memory: one flag per direction, alone in its lines, the payload
// beside it.
//
// PROTOCOL  The client puts a payload beside the request flag and stores the next number into the
//           flag; the server, which waits for the flag to change, copies the payload beside the
//           reply flag and stores the same number there; the client waits for it and copies the
//           payload out. Up to 8 bytes the flag's own word is the payload: the flag ping-pong.
//           Warm, the server sleeps on a futex, the low half of the request flag.
//           A stream copies each payload to the next place of a ring and raises the flag; the
//           server looks at the payload's ends and answers.

#include <bench/raw_transport.hpp>
#include <bench/statistics.hpp>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <new>

namespace sublet::bench {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::uint64_t kStop = ~std::uint64_t{0};

/// Spins between two looks at the server: some milliseconds.
constexpr std::uint32_t kSpinsPerCheck = 1u << 18;

struct alignas(kAlone) Flag {
  std::atomic<std::uint64_t> value;
};

/// What lies before the payloads.
struct Flags {
  Flag line;
  Flag window;  ///< Places of a stream's ring.
};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(std::endian::native == std::endian::little,
              "the futex of the warm exchange is the low half of the flag");

std::uint32_t* low_half(std::atomic<std::uint64_t>& word) {
  return reinterpret_cast<std::uint32_t*>(&word);
}

class RawShm final : public RawExchangeOf<RawShm> {
 public:
  static constexpr std::size_t kInFlag = sizeof(std::uint64_t);

  /// HOT-PATH BUDGET: two copies of the payload and two flags, a futex call more when warm.
  template <RawKind kKind>
  [[nodiscard]] bool exchange(const std::byte* in, std::byte* out) noexcept {
    const std::uint64_t number = ++number_;
    const std::size_t bytes = size();
    if (bytes > kInFlag) std::memcpy(request_payload_, in, bytes);
    request_->value.store(number, std::memory_order_release);
    if constexpr (kKind == RawKind::kWarm) wake();
    if (!await(reply_->value, number)) return false;
    if (bytes > kInFlag) {
      std::memcpy(out, reply_payload_, bytes);
    } else {
      std::memcpy(out, &number, bytes);
    }
    return true;
  }

  Result<double> bounced_line_ns() override;

 private:
  Result<void> prepare() override;
  Result<void> open_server(base::HelperLink&) override { return {}; }
  Result<void> open_client(base::HelperLink&) override { return {}; }
  bool serve(RawKind kind, std::size_t size) override;
  void serve_line();
  template <bool kSleeps>
  void serve_calls(std::size_t size);
  void serve_stream(std::size_t size);
  void reset(RawKind kind) override;
  [[nodiscard]] bool stop() noexcept override;
  [[nodiscard]] bool stream(std::size_t size, std::uint64_t count,
                            std::size_t window) noexcept override;

  void wake() noexcept {
    ::syscall(SYS_futex, low_half(request_->value), FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }
  /// The pause makes the exchange faster: fewer looks at a line that the other side is about to
  /// write (8 B: 95 ns with it, 127 ns without).
  template <class Done>
  [[nodiscard, gnu::always_inline]] bool spin_until(Done done) noexcept {
    return spin<kSpinsPerCheck>([&] {
      if (done()) return 1;
      base::cpu_pause();
      return 0;
    });
  }
  [[nodiscard, gnu::always_inline]] bool await(const std::atomic<std::uint64_t>& word,
                                               std::uint64_t want) noexcept {
    return spin_until([&] { return word.load(std::memory_order_acquire) == want; });
  }

  base::SharedMemory area_;
  Flags* flags_ = nullptr;
  Flag* request_ = nullptr;
  Flag* reply_ = nullptr;
  std::byte* request_payload_ = nullptr;
  std::byte* reply_payload_ = nullptr;
  std::uint64_t number_ = 0;
  StreamSource source_;
};

Result<void> RawShm::prepare() {
  // Request and reply start at the same place of a page: a copy between them then never reads just
  // behind a write that the processor takes for the same address.
  const std::size_t side = (kAlone + max_size() + kPage - 1) / kPage * kPage;
  auto memory = base::SharedMemory::create("sublet-bench-shm", kPage + 2 * side,
                                           base::SharedMemory::Pages::kHuge);
  if (!memory) return tl::unexpected<Error>(std::move(memory.error()));
  area_ = std::move(*memory);
  std::byte* const base = area_.data();
  static_assert(sizeof(Flags) <= kPage);
  flags_ = new (base) Flags{};
  request_ = new (base + kPage) Flag{};
  reply_ = new (base + kPage + side) Flag{};
  request_payload_ = base + kPage + kAlone;
  reply_payload_ = base + kPage + side + kAlone;
  return {};
}

// ---- the server's side ----

bool RawShm::serve(RawKind kind, std::size_t size) {
  if (kind == RawKind::kLine) serve_line();
  if (kind == RawKind::kHot) serve_calls<false>(size);
  if (kind == RawKind::kWarm) serve_calls<true>(size);
  if (kind == RawKind::kStream) serve_stream(size);
  return true;
}

void RawShm::serve_line() {
  std::uint64_t next = 1;  // the client writes the odd numbers, this side the even ones
  for (;;) {
    const std::uint64_t seen = flags_->line.value.load(std::memory_order_acquire);
    if (seen == kStop) return;
    if (seen != next) {
      base::cpu_pause();
      continue;
    }
    flags_->line.value.store(next + 1, std::memory_order_release);
    next += 2;
  }
}

template <bool kSleeps>
void RawShm::serve_calls(std::size_t size) {
  std::uint64_t last = 0;
  for (;;) {
    const std::uint64_t number = request_->value.load(std::memory_order_acquire);
    if (number == last) {
      if constexpr (kSleeps) {
        ::syscall(SYS_futex, low_half(request_->value), FUTEX_WAIT,
                  static_cast<std::uint32_t>(last), nullptr, nullptr, 0);
      } else {
        base::cpu_pause();
      }
      continue;
    }
    if (number == kStop) return;
    last = number;
    if (size > kInFlag) std::memcpy(reply_payload_, request_payload_, size);
    reply_->value.store(number, std::memory_order_release);
  }
}

void RawShm::serve_stream(std::size_t size) {
  auto* const answers = reinterpret_cast<std::uint64_t*>(reply_payload_);
  std::uint64_t last = 0;
  for (;;) {
    const std::uint64_t number = request_->value.load(std::memory_order_acquire);
    if (number == kStop) return;
    if (number == last) base::cpu_pause();
    while (last != number) {
      const std::size_t place = ++last % flags_->window.value.load(std::memory_order_relaxed);
      answers[place] = ends_of(request_payload_ + place * stream_stride(size), size);
      reply_->value.store(last, std::memory_order_release);
    }
  }
}

// ---- the client's side ----

void RawShm::reset(RawKind) {
  number_ = 0;
  request_->value.store(0, std::memory_order_relaxed);
  reply_->value.store(0, std::memory_order_relaxed);
  flags_->line.value.store(0, std::memory_order_relaxed);
}

bool RawShm::stop() noexcept {
  flags_->line.value.store(kStop, std::memory_order_release);
  request_->value.store(kStop, std::memory_order_release);
  wake();
  return true;
}

bool RawShm::stream(std::size_t size, std::uint64_t count, std::size_t window) noexcept {
  const std::size_t stride = stream_stride(size);
  if (source_.size() != size) source_ = StreamSource(size, request_payload_);
  const std::uint64_t expected = ends_of(source_.data(), size);
  const auto* const answers = reinterpret_cast<const std::uint64_t*>(reply_payload_);
  const auto answered = [&](std::uint64_t number) {
    return spin_until([&] { return reply_->value.load(std::memory_order_acquire) >= number; }) &&
           answers[number % window] == expected;
  };
  flags_->window.value.store(window, std::memory_order_relaxed);  // nothing is under way
  const std::uint64_t before = number_;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t number = ++number_;
    if (number > before + window && !answered(number - window)) return false;
    std::memcpy(request_payload_ + number % window * stride, source_.data(), size);
    request_->value.store(number, std::memory_order_release);
  }
  return answered(number_);
}

Result<double> RawShm::bounced_line_ns() {
  constexpr int kGroups = 9;
  constexpr int kBouncesPerGroup = 64;
  if (auto begun = begin(RawKind::kLine, 0); !begun) return tl::unexpected<Error>(begun.error());
  std::vector<double> groups;
  std::uint64_t word = 0;
  for (int group = 0; group < kGroups; ++group) {
    const base::Ticks start = base::ticks();
    for (int i = 0; i < kBouncesPerGroup; ++i) {
      flags_->line.value.store(++word, std::memory_order_release);
      if (!await(flags_->line.value, ++word)) return server_gone();
    }
    const auto ns = base::TickRate::get().to_ns(base::ticks() - start);
    groups.push_back(static_cast<double>(ns) / (2.0 * kBouncesPerGroup));
  }
  if (auto ended = end(); !ended) return tl::unexpected<Error>(ended.error());
  return median(std::move(groups));
}

}  // namespace

extern const RawTransport raw_shm{
    .transport = "shm",
    .hot = "two processes, one flag per direction, both spinning",
    .warm = "as hot, the server sleeping on a futex",
    .stream = "copies into a ring in shared memory, a flag each",
    .stream_copies = true,
    .start = &RawShm::start,
};

}  // namespace sublet::bench
