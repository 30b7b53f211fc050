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
  gpus_.swap(other.gpus_);
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
  for (const Offer::Gpu& gpu : offer_.gpus) gpus_.push_back({.near = gpu.near});
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

std::vector<std::string> CoreInventory::gpus(const Reservation& reservation) const {
  std::vector<std::string> uuids;
  for (const std::uint32_t gpu : reservation.gpus_) uuids.push_back(offer_.gpus[gpu].info.uuid);
  return uuids;
}

std::vector<GpuInfo> CoreInventory::gpus() const {
  std::vector<GpuInfo> infos;
  for (const Offer::Gpu& gpu : offer_.gpus) infos.push_back(gpu.info);
  return infos;
}

std::uint32_t CoreInventory::free_gpus() const noexcept {
  return static_cast<std::uint32_t>(
      std::count_if(gpus_.begin(), gpus_.end(), [](const GpuState& gpu) { return !gpu.used; }));
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

std::vector<std::uint32_t> CoreInventory::take_gpus(std::uint32_t width, std::uint32_t count) {
  for (;;) {
    auto chosen = choose_gpus(gpus_, cores_, offer_.oversubscribe, width, count);
    const auto lost = std::find_if(chosen.begin(), chosen.end(), [this](std::uint32_t gpu) {
      gpus_[gpu].used = !exclusion_.lock_gpu || exclusion_.lock_gpu(offer_.gpus[gpu].info.uuid);
      return !gpus_[gpu].used;
    });
    if (lost == chosen.end()) return chosen;
    gpus_[*lost].usable = false;
    for (auto taken = chosen.begin(); taken != lost; ++taken) give_back_gpu(*taken);
  }
}

void CoreInventory::give_back_gpu(std::uint32_t gpu) noexcept {
  gpus_[gpu].used = false;
  if (exclusion_.unlock_gpu) exclusion_.unlock_gpu(offer_.gpus[gpu].info.uuid);
}

/// False when there are not enough cores, or GPUs, that nobody else uses.
bool CoreInventory::take_worker(Reservation& reservation, std::uint32_t gpus, bool also_shared) {
  const auto chosen = take_gpus(reservation.width_, gpus);
  if (chosen.size() < gpus) return false;
  if (!take_cores(reservation, chosen, also_shared)) {
    for (const std::uint32_t gpu : chosen) give_back_gpu(gpu);
    return false;
  }
  reservation.gpus_.insert(reservation.gpus_.end(), chosen.begin(), chosen.end());
  return true;
}

bool CoreInventory::take_cores(Reservation& reservation, const std::vector<std::uint32_t>& gpus,
                               bool also_shared) {
  for (;;) {
    const auto chosen =
        choose_cores_near(gpus_, gpus, cores_, offer_.oversubscribe, reservation.width_);
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

Result<CoreInventory::Reservation> CoreInventory::reserve(const Amount& amount) {
  const auto& [workers, cores_per_worker, gpus_per_worker, memory_bytes] = amount;
  const auto asked = std::uint64_t{workers} * cores_per_worker;
  if (const auto gpus = std::uint64_t{workers} * gpus_per_worker; gpus > free_gpus()) {
    return fail(ErrorKind::kOverloaded,
                "asked for " + std::to_string(gpus) + " GPUs of this node; free are " +
                    std::to_string(free_gpus()) + " of its " + std::to_string(gpus_.size()));
  }
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
    for (GpuState& gpu : gpus_) gpu.usable = true;
    while (taken < workers && take_worker(reservation, gpus_per_worker, also_shared)) ++taken;
  }
  if (const auto others = std::count_if(gpus_.begin(), gpus_.end(),
                                        [](const GpuState& gpu) { return !gpu.usable; });
      taken < workers && others > 0) {
    return fail(ErrorKind::kOverloaded,
                "asked for " + std::to_string(std::uint64_t{workers} * gpus_per_worker) +
                    " GPUs of this node; " + std::to_string(others) +
                    " of those that are free are used by another job's private manager");
  }
  if (taken < workers) {
    const std::string width = " x " + std::to_string(cores_per_worker);
    return fail(ErrorKind::kOverloaded,
                "asked for " + std::to_string(workers) + width +
                    " different cores of this node; its " + std::to_string(widest_worker()) +
                    " cores have room for " + std::to_string(taken) + width);
  }
  // In their order, where they are all alike.
  if (cores_per_worker == 1 && gpus_per_worker == 0)
    std::sort(reservation.cores_.begin(), reservation.cores_.end());
  return reservation;
}

void CoreInventory::release(const Reservation& reservation) noexcept {
  for (const std::uint32_t core : reservation.cores_) give_back(core);
  for (const std::uint32_t gpu : reservation.gpus_) give_back_gpu(gpu);
  free_cores_ += static_cast<std::uint32_t>(reservation.cores_.size());
  free_memory_ += reservation.memory_;
}

}  // namespace sublet::manager
