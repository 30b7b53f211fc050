#pragma once

#include <base/clock.hpp>
#include <sublet/result.hpp>
#include <wire/limits.hpp>

#include <array>
#include <atomic>
#include <cfenv>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace sublet::executor {

enum class FunctionForm : std::uint8_t { kRfaas, kTyped };

struct FunctionEntry {
  /// Null until the function is there. Stored last (release) by the main thread; pairs with the
  /// acquire in FunctionTable::find.
  std::atomic<void*> code{nullptr};
  base::Ticks timeout = 0;  ///< 0: none.
  const char* name = nullptr;
  std::uint64_t timeout_ms = 0;
  FunctionForm form = FunctionForm::kRfaas;
  /// How its library wants floating-point numbers treated; null: in the usual way.
  const std::fenv_t* floats = nullptr;
};

/// The functions of an executor by the numbers that its clients use. Append-only: an entry never
/// changes once it is published, so nobody needs a lock.
///
/// Owner: the executor; it lives as long as the process. The main thread adds, any thread and any
/// signal handler reads. The zygote makes an empty one before it forks.
class FunctionTable {
 public:
  FunctionTable() = default;
  ~FunctionTable();
  FunctionTable(const FunctionTable&) = delete;
  FunctionTable& operator=(const FunctionTable&) = delete;

  /// HOT PATH. `index` comes from a client: nothing when there is no such function.
  [[nodiscard]] const FunctionEntry* find(std::uint16_t index) const noexcept {
    if (index >= entries_.size()) return nullptr;
    const FunctionEntry& entry = entries_[index];
    return entry.code.load(std::memory_order_acquire) == nullptr ? nullptr : &entry;
  }

  /// Publishes a function. kInvalid when the number is too high or taken.
  Result<void> add(std::uint16_t index, std::string_view name, void* code, FunctionForm form,
                   std::chrono::milliseconds timeout, const std::fenv_t* floats = nullptr);

  /// The shortest timeout of all functions; zero when none has any.
  [[nodiscard]] std::chrono::milliseconds shortest_timeout() const noexcept { return shortest_; }

 private:
  std::array<FunctionEntry, wire::kMaxFunctions> entries_{};
  std::chrono::milliseconds shortest_{0};
};

}  // namespace sublet::executor
