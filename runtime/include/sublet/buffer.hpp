#pragma once

#include <cstddef>
#include <limits>
#include <memory>
#include <memory_resource>
#include <new>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace sublet {

/// An array in a lease's arena: memory that the lease's workers read and write in place, so a call
/// that passes it copies nothing.
///
/// Owner: the caller; it keeps the arena alive, even past the Lease. Thread rule: as for any array.
/// Give it back only when no call that uses it is in flight.
template <class T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>, "a worker sees these bytes in another process");

 public:
  Buffer() = default;
  /// Throws std::bad_alloc when the arena is full, std::invalid_argument when there is none.
  Buffer(std::shared_ptr<std::pmr::memory_resource> arena, std::size_t count)
      : arena_(std::move(arena)),
        data_(static_cast<T*>(checked(arena_)->allocate(bytes_for(count), alignof(T)))),
        count_(count) {}
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer(std::move(other)).swap(*this);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    if (data_ != nullptr) arena_->deallocate(data_, count_ * sizeof(T), alignof(T));
  }

  [[nodiscard]] T* data() noexcept { return data_; }
  [[nodiscard]] const T* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return count_; }
  [[nodiscard]] std::size_t size_bytes() const noexcept { return count_ * sizeof(T); }
  [[nodiscard]] T* begin() noexcept { return data_; }
  [[nodiscard]] T* end() noexcept { return data_ + count_; }
  [[nodiscard]] const T* begin() const noexcept { return data_; }
  [[nodiscard]] const T* end() const noexcept { return data_ + count_; }
  [[nodiscard]] T& operator[](std::size_t i) noexcept { return data_[i]; }
  [[nodiscard]] const T& operator[](std::size_t i) const noexcept { return data_[i]; }
  [[nodiscard]] std::span<T> span() noexcept { return {data_, count_}; }
  [[nodiscard]] std::span<const T> span() const noexcept { return {data_, count_}; }

  void swap(Buffer& other) noexcept {
    arena_.swap(other.arena_);
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
  }

 private:
  static std::size_t bytes_for(std::size_t count) {
    if (count > std::numeric_limits<std::size_t>::max() / sizeof(T)) {
      throw std::bad_array_new_length();
    }
    return count * sizeof(T);
  }

  static std::pmr::memory_resource* checked(
      const std::shared_ptr<std::pmr::memory_resource>& arena) {
    if (!arena) throw std::invalid_argument("a sublet::Buffer was asked for without an arena");
    return arena.get();
  }

  std::shared_ptr<std::pmr::memory_resource> arena_;
  T* data_ = nullptr;
  std::size_t count_ = 0;
};

}  // namespace sublet
