#pragma once

// The executor manager's side of a real sublet-executor, for tests.

#include <base/fd.hpp>
#include <base/shared_memory.hpp>
#include <sublet/status.hpp>
#include <transport/arena.hpp>
#include <transport/shm/shm_transport.hpp>
#include <wire/executor_packets.hpp>

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace sublet::executor {

/// A sanitizer has terabytes of shadow memory, its own end when memory runs out, and takes its time
/// to start and to unwind: some of what an executor promises cannot be seen with it.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitizer = true;
#else
inline constexpr bool kSanitizer = false;
#endif

/// How long a test waits for anything that should come at once.
inline constexpr std::chrono::milliseconds kPatience{20000};

/// One executor, as its manager sees it. Closing `control` stops it.
struct ExecutorUnderTest {
  pid_t pid = -1;
  base::Fd pidfd;
  base::Fd control;
  std::string socket;
  transport::Token token{};
  base::SharedMemory accounting;
  std::uint32_t slots = 16;

  [[nodiscard]] const wire::WorkerCounters& counters(std::uint32_t worker) const;

  /// Sends kOpen and waits for the answer.
  wire::Opened open(std::uint16_t index, const std::string& library, const std::string& function,
                    std::chrono::milliseconds timeout = {});
  wire::Opened open_memory(std::uint16_t index, base::Fd memory, std::uint8_t hash,
                           const std::string& function, std::chrono::milliseconds timeout = {});
  /// Sends kOpen only.
  void order_open(std::uint16_t index, base::Fd memory, std::uint8_t hash,
                  const std::string& function, std::chrono::milliseconds timeout = {});
  /// Opens functions of one library under the numbers 0, 1, ...; throws when one fails.
  void open_all(const std::string& library, const std::vector<std::string>& functions);

  /// What the executor says of its fatal end; throws when it says something else.
  wire::Dying dying();

  [[nodiscard]] Result<transport::shm::ClientChannel> connect(
      std::uint32_t worker, const std::shared_ptr<transport::Arena>& arena);
};

struct SpawnOptions {
  std::uint32_t workers = 1;
  std::uint32_t slots = 16;
  std::uint32_t cores_per_worker = 1;
  std::string gpus{};
  std::uint64_t memory_bytes = 0;
  std::int64_t hot_timeout_ms = -1;
  std::uint32_t uid = ~std::uint32_t{0};
  std::uint32_t gid = ~std::uint32_t{0};
  std::size_t accounting_bytes = 0;  ///< 0: as many as the workers need.
  std::uint64_t stack_bytes = 0;
  std::string core_directory{};
  std::string cpusets{};  ///< Empty: each worker any of this process's cores.
};

/// A running `sublet-executor --zygote`. Its end, and that of all it forked, is seen to in the
/// destructor.
class ZygoteUnderTest {
 public:
  explicit ZygoteUnderTest(const std::vector<std::string>& environment = {});
  ~ZygoteUnderTest();
  ZygoteUnderTest(const ZygoteUnderTest&) = delete;
  ZygoteUnderTest& operator=(const ZygoteUnderTest&) = delete;

  /// Sends kSpawn and waits for kSpawned and kReady.
  ExecutorUnderTest spawn(const SpawnOptions& options = {});
  /// Sends kSpawn only; the answers are to be fetched by the caller.
  ExecutorUnderTest order(const SpawnOptions& options, std::uint64_t request);
  wire::ReceivedMessage receive_spawned();
  /// Sends kSpares: it may keep so many processes ready.
  void allow_spares(std::uint32_t most);
  /// Waits until it has said that it has so many.
  void wait_for_spares(std::uint32_t count);
  /// Its children that are no executors of this test's.
  [[nodiscard]] std::vector<pid_t> spares(const std::vector<pid_t>& executors = {}) const;
  /// The wait status with which `pid` ended, as the zygote reports it.
  int exit_of(pid_t pid);

  [[nodiscard]] int socket() const noexcept { return socket_.get(); }
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  [[nodiscard]] double ticks_per_ns() const noexcept { return ticks_per_ns_; }

  /// Closes the manager's end and waits for the zygote; its wait status.
  int close_and_wait();

 private:
  base::Fd socket_;
  pid_t pid_ = -1;
  double ticks_per_ns_ = 0;
  std::uint64_t next_request_ = 1;
  std::map<pid_t, int> exits_;  ///< Reported and not asked for yet.
  std::uint32_t spares_ = 0;    ///< Reported last.

  /// True when it was something that is kept for who asks for it.
  bool keep(const wire::ReceivedMessage& message);
};

/// True once the process behind a pidfd has ended.
[[nodiscard]] bool ended_within(int pidfd, std::chrono::milliseconds limit);

/// A pidfd of any process, to see it end; invalid when it is gone already.
[[nodiscard]] base::Fd watch_process(pid_t pid);

/// All cores this process may use, as a list.
[[nodiscard]] std::string usable_cores();

/// A file as a sealed memfd.
[[nodiscard]] base::Fd library_memory(const std::string& path);

/// How a call ended, with the error text kept.
struct CallResult {
  Status status = Status::kAgain;
  std::uint64_t size = 0;
  std::uint64_t exec_ns = 0;
  std::string error;
};

/// One call, start to end.
CallResult call(transport::shm::ClientChannel& channel, std::uint16_t function, const void* in,
                std::uint64_t in_size, void* out = nullptr, std::uint64_t out_capacity = 0);

}  // namespace sublet::executor
