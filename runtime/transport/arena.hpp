#pragma once

#include <base/shared_memory.hpp>
#include <sublet/result.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <memory_resource>
#include <mutex>

namespace sublet::transport {

/// A lease's payload memory: one mapping that every transport of the lease can hand to its workers.
/// First fit over a map of free ranges, neighbours joined when freed.
///
/// Owner: the lease and all its buffers, shared. Any thread may allocate and free (it locks: not
/// for the hot path). Throws std::bad_alloc when no free range is large enough.
class Arena final : public std::pmr::memory_resource {
 public:
  /// Blocks start on such a boundary, so that two never share the pair of lines that one prefetch
  /// brings.
  static constexpr std::size_t kGranule = 128;

  static Result<std::shared_ptr<Arena>> create(std::size_t size);

  [[nodiscard]] const base::SharedMemory& memory() const noexcept { return memory_; }
  [[nodiscard]] std::byte* data() const noexcept { return memory_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return memory_.size(); }
  [[nodiscard]] bool contains(const void* pointer, std::size_t size) const noexcept {
    const auto offset = reinterpret_cast<std::uintptr_t>(pointer) -
                        reinterpret_cast<std::uintptr_t>(memory_.data());
    return offset <= memory_.size() && size <= memory_.size() - offset;
  }
  /// The largest block that can be had now, bytes.
  [[nodiscard]] std::size_t largest_free() const;
  [[nodiscard]] std::size_t bytes_in_use() const;

  explicit Arena(base::SharedMemory memory);

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* pointer, std::size_t bytes, std::size_t alignment) override;
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }

  base::SharedMemory memory_;
  mutable std::mutex mutex_;
  std::map<std::size_t, std::size_t> free_;  ///< Offset to length, no two adjacent.
};

}  // namespace sublet::transport
