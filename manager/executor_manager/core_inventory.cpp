#include <executor_manager/core_inventory.hpp>
#include <topology/cpuset.hpp>

#include <algorithm>

namespace sublet::manager {

CoreInventory::Reservation::~Reservation() {
  if (inventory_ != nullptr) inventory_->release(*this);
}

void CoreInventory::Reservation::swap(Reservation& other) noexcept {
  std::swap(inventory_, other.inventory_);
  cores_.swap(other.cores_);
  std::swap(width_, other.width_);
  std::swap(memory_, other.memory_);
}

CoreInventory::CoreInventory(Offer offer, Exclusion exclusion)
    : offer_(std::move(offer)),
      exclusion_(std::move(exclusion)),
      cores_(offer_.cpusets.size()),
      shared_(offer_.cpusets.size(), false) {
  for (std::size_t i = 0; i < offer_.places.size() && i < cores_.size(); ++i) {
    cores_[i].place = offer_.places[i];
  }
  free_cores_ = cores();
  free_memory_ = offer_.memory_bytes;
}

std::uint32_t CoreInventory::cores() const noexcept {
  return static_cast<std::uint32_t>(offer_.cpusets.size()) * offer_.oversubscribe;
}

std::vector<std::string> CoreInventory::cpusets(const Reservation& reservation) const {
  std::vector<std::string> workers;
  const std::vector<std::uint32_t>& cores = reservation.cores_;
  for (std::size_t first = 0; first < cores.size(); first += reservation.width_) {
    topology::Cpuset together;
    bool alone = true;
    for (std::size_t i = first; i < first + reservation.width_; ++i) {
      alone = alone && !shared_[cores[i]];
      if (const auto own = topology::Cpuset::parse(offer_.cpusets[cores[i]])) together |= *own;
    }
    workers.push_back(alone ? together.to_list() : offer_.all);
  }
  return workers;
}

// ---- taking and giving back ----

bool CoreInventory::take(std::uint32_t core, bool also_shared) {
  if (cores_[core].users == 0 && exclusion_.lock) {
    shared_[core] = !exclusion_.lock(offer_.cpusets[core]);
    if (shared_[core] && !also_shared) return false;
  }
  ++cores_[core].users;
  return true;
}

void CoreInventory::give_back(std::uint32_t core) noexcept {
  if (--cores_[core].users == 0 && exclusion_.unlock && !shared_[core]) {
    exclusion_.unlock(offer_.cpusets[core]);
  }
}

/// False when there are not enough cores that nobody else uses.
bool CoreInventory::take_worker(Reservation& reservation, bool also_shared) {
  for (;;) {
    const auto chosen = choose_cores(cores_, offer_.oversubscribe, reservation.width_);
    if (chosen.empty()) return false;
    std::size_t taken = 0;
    while (taken < chosen.size() && take(chosen[taken], also_shared)) ++taken;
    if (taken == chosen.size()) {
      reservation.cores_.insert(reservation.cores_.end(), chosen.begin(), chosen.end());
      free_cores_ -= reservation.width_;
      return true;
    }
    cores_[chosen[taken]].usable = false;
    while (taken > 0) give_back(chosen[--taken]);
  }
}

Result<CoreInventory::Reservation> CoreInventory::reserve(std::uint32_t workers,
                                                          std::uint64_t memory_bytes,
                                                          std::uint32_t cores_per_worker) {
  const auto asked = std::uint64_t{workers} * cores_per_worker;
  if (asked == 0 || asked > free_cores_ || memory_bytes > free_memory_) {
    return fail(ErrorKind::kOverloaded, "asked for " + std::to_string(asked) + " cores and " +
                                            std::to_string(memory_bytes >> 20) +
                                            " MiB of this node; free are " +
                                            std::to_string(free_cores_) + " cores and " +
                                            std::to_string(free_memory_ >> 20) + " MiB");
  }
  Reservation reservation;
  reservation.inventory_ = this;
  reservation.width_ = cores_per_worker;
  reservation.memory_ = memory_bytes;
  free_memory_ -= memory_bytes;
  // Cores that somebody else uses come last.
  std::uint32_t taken = 0;
  for (const bool also_shared : {false, true}) {
    for (CoreState& core : cores_) core.usable = true;
    while (taken < workers && take_worker(reservation, also_shared)) ++taken;
  }
  if (taken < workers) {
    const std::string width = " x " + std::to_string(cores_per_worker);
    return fail(ErrorKind::kOverloaded,
                "asked for " + std::to_string(workers) + width +
                    " different cores of this node; its " + std::to_string(widest_worker()) +
                    " cores have room for " + std::to_string(taken) + width);
  }
  if (cores_per_worker == 1) std::sort(reservation.cores_.begin(), reservation.cores_.end());
  return reservation;
}

void CoreInventory::release(const Reservation& reservation) noexcept {
  for (const std::uint32_t core : reservation.cores_) give_back(core);
  free_cores_ += static_cast<std::uint32_t>(reservation.cores_.size());
  free_memory_ += reservation.memory_;
}

}  // namespace sublet::manager
