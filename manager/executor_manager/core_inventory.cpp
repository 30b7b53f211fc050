#include <executor_manager/core_inventory.hpp>

#include <algorithm>
#include <numeric>

namespace sublet::manager {

CoreInventory::Reservation::~Reservation() {
  if (inventory_ != nullptr) inventory_->release(*this);
}

void CoreInventory::Reservation::swap(Reservation& other) noexcept {
  std::swap(inventory_, other.inventory_);
  cores_.swap(other.cores_);
  std::swap(memory_, other.memory_);
}

CoreInventory::CoreInventory(Offer offer, Exclusion exclusion)
    : offer_(std::move(offer)),
      exclusion_(std::move(exclusion)),
      users_(offer_.cpusets.size(), 0),
      shared_(offer_.cpusets.size(), false) {
  free_cores_ = cores();
  free_memory_ = offer_.memory_bytes;
}

std::uint32_t CoreInventory::cores() const noexcept {
  return static_cast<std::uint32_t>(offer_.cpusets.size()) * offer_.oversubscribe;
}

const std::string& CoreInventory::cpuset(std::uint32_t core) const {
  return shared_.at(core) ? offer_.all : offer_.cpusets.at(core);
}

bool CoreInventory::take(std::uint32_t core, bool also_shared) {
  if (users_[core] == 0 && exclusion_.lock) {
    shared_[core] = !exclusion_.lock(offer_.cpusets[core]);
    if (shared_[core] && !also_shared) return false;
  }
  ++users_[core];
  return true;
}

Result<CoreInventory::Reservation> CoreInventory::reserve(std::uint32_t cores,
                                                          std::uint64_t memory_bytes) {
  if (cores == 0 || cores > free_cores_ || memory_bytes > free_memory_) {
    return fail(ErrorKind::kOverloaded, "asked for " + std::to_string(cores) + " cores and " +
                                            std::to_string(memory_bytes >> 20) +
                                            " MiB of this node; free are " +
                                            std::to_string(free_cores_) + " cores and " +
                                            std::to_string(free_memory_ >> 20) + " MiB");
  }
  Reservation reservation;
  reservation.inventory_ = this;
  reservation.memory_ = memory_bytes;
  std::vector<std::uint32_t> order(users_.size());
  std::iota(order.begin(), order.end(), 0u);
  // More workers than cores go round once more, over the cores that are then the least used. Cores
  // that somebody else uses come last.
  for (bool also_shared = false; reservation.cores_.size() < cores;) {
    const std::size_t before = reservation.cores_.size();
    std::stable_sort(order.begin(), order.end(),
                     [this](std::uint32_t a, std::uint32_t b) { return users_[a] < users_[b]; });
    for (const std::uint32_t core : order) {
      if (reservation.cores_.size() == cores || users_[core] == offer_.oversubscribe) break;
      if (take(core, also_shared)) reservation.cores_.push_back(core);
    }
    also_shared = reservation.cores_.size() == before;
  }
  std::sort(reservation.cores_.begin(), reservation.cores_.end());
  free_cores_ -= cores;
  free_memory_ -= memory_bytes;
  return reservation;
}

void CoreInventory::release(const Reservation& reservation) noexcept {
  for (const std::uint32_t core : reservation.cores_) {
    if (--users_[core] == 0 && exclusion_.unlock && !shared_[core]) {
      exclusion_.unlock(offer_.cpusets[core]);
    }
  }
  free_cores_ += static_cast<std::uint32_t>(reservation.cores_.size());
  free_memory_ += reservation.memory_;
}

}  // namespace sublet::manager
