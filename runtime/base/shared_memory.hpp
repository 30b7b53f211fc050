#pragma once

#include <base/fd.hpp>
#include <sublet/result.hpp>

#include <cstddef>
#include <span>
#include <string>

namespace sublet::base {

/// A mapped memfd. Owner: whoever holds it; unmapped and closed on destruction. Any thread.
class SharedMemory {
 public:
  enum class Pages {
    kSmall,
    kHuge,  ///< Transparent huge pages where the system allows them for shared memory.
  };

  SharedMemory() = default;
  SharedMemory(SharedMemory&& other) noexcept { swap(other); }
  SharedMemory& operator=(SharedMemory&& other) noexcept {
    SharedMemory(std::move(other)).swap(*this);
    return *this;
  }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory();

  /// Makes a zeroed memfd of `size` bytes whose size can never change again (sealed), and maps it.
  static Result<SharedMemory> create(const std::string& name, std::size_t size, Pages pages);

  /// Maps a memfd that a peer has sent. Hostile until checked: kInvalid unless it is sealed against
  /// shrinking (else touching it could raise SIGBUS) and has `expected_size` bytes.
  static Result<SharedMemory> map(Fd fd, std::size_t expected_size);

  /// A memfd with this content, sealed against any change: for a library. Not mapped.
  static Result<Fd> sealed_copy(const std::string& name, std::span<const std::byte> content);

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] bool valid() const noexcept { return data_ != nullptr; }

  void swap(SharedMemory& other) noexcept;

 private:
  static Result<SharedMemory> map_fd(Fd fd, std::size_t size);
  Fd fd_;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace sublet::base
