#pragma once

#include <executor_manager/gpu_choice.hpp>
#include <sublet/result.hpp>
#include <sublet/session.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace sublet::manager {

/// Where the workers of one grant run.
struct WorkerPlaces {
  std::vector<std::string> cpusets{};  ///< One hwloc list per worker.
  std::vector<std::string> gpus{};     ///< UUIDs, those of each worker in a row.
};

/// The cores, memory and GPUs that a node offers, and who has them. Each core is offered
/// `oversubscribe` times; a core goes to a second grant, or to a grant beside somebody else's use
/// of it, only when no other is free. The cores of one worker are different ones, close together
/// (core_choice.hpp), and near its GPUs (gpu_choice.hpp). A GPU is offered once.
///
/// Owner: the executor manager; it outlives its reservations. One thread.
class CoreInventory {
 public:
  struct Offer {
    std::vector<std::string> cpusets;  ///< One hwloc list per core, in the order of preference.
    std::uint32_t oversubscribe = 1;
    std::uint64_t memory_bytes = 0;
    std::string all{};  ///< Of all of them, in one list: for workers that are pinned to none.
    std::vector<CorePlace> places{};  ///< One per core. Empty: all are equally close.
    struct Gpu {
      GpuInfo info;
      std::vector<std::uint32_t> near{};  ///< As GpuState::near: indices of `cpusets`.
    };
    std::vector<Gpu> gpus{};
  };

  /// Keeps others of this machine away from a core that is in use, by its cpuset, and from a GPU,
  /// by its UUID. Empty: there are none.
  struct Exclusion {
    std::function<bool(const std::string&)> lock;  ///< False while somebody else has it.
    std::function<void(const std::string&)> unlock;
    std::function<bool(const std::string&)> lock_gpu{};
    std::function<void(const std::string&)> unlock_gpu{};
  };

  /// What a grant gets.
  struct Amount {
    std::uint32_t workers = 1;
    std::uint32_t cores_per_worker = 1;
    std::uint32_t gpus_per_worker = 0;
    std::uint64_t memory_bytes = 0;
  };

  /// Cores, memory and GPUs of one grant; given back on destruction.
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

    /// Indices of cores, those of each worker in a row.
    [[nodiscard]] const std::vector<std::uint32_t>& cores() const noexcept { return cores_; }
    /// The same of GPUs.
    [[nodiscard]] const std::vector<std::uint32_t>& gpus() const noexcept { return gpus_; }
    [[nodiscard]] std::uint64_t memory_bytes() const noexcept { return memory_; }
    void swap(Reservation& other) noexcept;

   private:
    friend class CoreInventory;
    CoreInventory* inventory_ = nullptr;
    std::vector<std::uint32_t> cores_;
    std::vector<std::uint32_t> gpus_;
    std::uint32_t width_ = 1;  ///< Cores of each worker.
    std::uint64_t memory_ = 0;
  };

  explicit CoreInventory(Offer offer) : CoreInventory(std::move(offer), Exclusion()) {}
  CoreInventory(Offer offer, Exclusion exclusion);
  CoreInventory(const CoreInventory&) = delete;
  CoreInventory& operator=(const CoreInventory&) = delete;

  /// kOverloaded says what was asked and what is free.
  Result<Reservation> reserve(const Amount& amount);
  Result<Reservation> reserve(std::uint32_t workers, std::uint64_t memory_bytes,
                              std::uint32_t cores_per_worker = 1) {
    return reserve({workers, cores_per_worker, 0, memory_bytes});
  }

  /// Of each worker, an hwloc list: all cores of the node where somebody else has one of its own,
  /// so that the system spreads what runs there.
  [[nodiscard]] std::vector<std::string> cpusets(const Reservation& reservation) const;
  /// UUIDs, those of each worker in a row.
  [[nodiscard]] std::vector<std::string> gpus(const Reservation& reservation) const;
  /// True when a core that is reserved is somebody else's too.
  [[nodiscard]] bool shared(std::uint32_t core) const { return shared_.at(core); }
  /// Oversubscription included.
  [[nodiscard]] std::uint32_t cores() const noexcept;
  /// Each core counts once.
  [[nodiscard]] std::uint32_t widest_worker() const noexcept {
    return static_cast<std::uint32_t>(cores_.size());
  }
  [[nodiscard]] std::uint32_t free_cores() const noexcept { return free_cores_; }
  [[nodiscard]] std::vector<GpuInfo> gpus() const;
  [[nodiscard]] std::uint32_t free_gpus() const noexcept;
  [[nodiscard]] std::uint64_t memory_bytes() const noexcept { return offer_.memory_bytes; }
  [[nodiscard]] std::uint64_t free_memory_bytes() const noexcept { return free_memory_; }

 private:
  void release(const Reservation& reservation) noexcept;
  [[nodiscard]] bool take_worker(Reservation& reservation, std::uint32_t gpus, bool also_shared);
  [[nodiscard]] bool take_cores(Reservation& reservation, const std::vector<std::uint32_t>& gpus,
                                bool also_shared);
  /// Some that nobody else uses; empty when there are not so many.
  [[nodiscard]] std::vector<std::uint32_t> take_gpus(std::uint32_t width, std::uint32_t count);
  void give_back_gpu(std::uint32_t gpu) noexcept;
  [[nodiscard]] bool take(std::uint32_t core, bool also_shared);
  void give_back(std::uint32_t core) noexcept;

  Offer offer_;
  Exclusion exclusion_;
  std::vector<CoreState> cores_;  ///< Usable: not known to be somebody else's.
  std::vector<bool> shared_;
  std::vector<GpuState> gpus_;
  std::uint32_t free_cores_ = 0;
  std::uint64_t free_memory_ = 0;
};

}  // namespace sublet::manager
