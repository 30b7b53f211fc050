#pragma once

#include <sublet/result.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace sublet::manager {

/// The cores and memory that a node offers, and who has them. Each core is offered `oversubscribe`
/// times; a core goes to a second grant only when no other is free.
///
/// Owner: the executor manager; it outlives its reservations. One thread.
class CoreInventory {
 public:
  struct Offer {
    std::vector<std::string> cpusets;  ///< One hwloc list per core, in the order of preference.
    std::uint32_t oversubscribe = 1;
    std::uint64_t memory_bytes = 0;
  };

  /// Cores and memory of one grant; given back on destruction.
  class Reservation {
   public:
    Reservation() = default;
    Reservation(Reservation&& other) noexcept { swap(other); }
    Reservation& operator=(Reservation&& other) noexcept {
      Reservation(std::move(other)).swap(*this);
      return *this;
    }
    Reservation(const Reservation&) = delete;
    Reservation& operator=(const Reservation&) = delete;
    ~Reservation();

    /// Indices of cores; ask the inventory for their cpusets.
    [[nodiscard]] const std::vector<std::uint32_t>& cores() const noexcept { return cores_; }
    [[nodiscard]] std::uint64_t memory_bytes() const noexcept { return memory_; }
    void swap(Reservation& other) noexcept;

   private:
    friend class CoreInventory;
    CoreInventory* inventory_ = nullptr;
    std::vector<std::uint32_t> cores_;
    std::uint64_t memory_ = 0;
  };

  explicit CoreInventory(Offer offer);
  CoreInventory(const CoreInventory&) = delete;
  CoreInventory& operator=(const CoreInventory&) = delete;

  /// kOverloaded says what was asked and what is free.
  Result<Reservation> reserve(std::uint32_t cores, std::uint64_t memory_bytes);

  [[nodiscard]] const std::string& cpuset(std::uint32_t core) const;
  /// Oversubscription included.
  [[nodiscard]] std::uint32_t cores() const noexcept;
  [[nodiscard]] std::uint32_t free_cores() const noexcept { return free_cores_; }
  [[nodiscard]] std::uint64_t memory_bytes() const noexcept { return offer_.memory_bytes; }
  [[nodiscard]] std::uint64_t free_memory_bytes() const noexcept { return free_memory_; }

 private:
  void release(const Reservation& reservation) noexcept;

  Offer offer_;
  std::vector<std::uint32_t> users_;  ///< Of each core.
  std::uint32_t free_cores_ = 0;
  std::uint64_t free_memory_ = 0;
};

}  // namespace sublet::manager
