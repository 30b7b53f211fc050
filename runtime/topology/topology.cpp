#include <base/system_text.hpp>
#include <topology/bitmap.hpp>
#include <topology/topology.hpp>

#include <sched.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace sublet::topology {

struct Topology::Handle {
  Handle() {
    if (hwloc_topology_init(&value) != 0) throw std::bad_alloc();
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { hwloc_topology_destroy(value); }
  hwloc_topology_t value = nullptr;
};

namespace {

void keep_devices(hwloc_topology_t topology, Devices devices) {
  hwloc_topology_set_io_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE);
  if (devices == Devices::kNone) return;
  hwloc_topology_set_type_filter(topology, HWLOC_OBJ_PCI_DEVICE, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
}

tl::unexpected<Error> hwloc_error(ErrorKind kind, const std::string& attempted) {
  const int number = errno;
  return fail(kind, attempted + ": " + std::strerror(number), number);
}

}  // namespace

Topology::Topology(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}
Topology::Topology(Topology&&) noexcept = default;
Topology& Topology::operator=(Topology&&) noexcept = default;
Topology::~Topology() = default;

Result<Topology> Topology::load(Devices devices) {
  // Where it is refused hwloc asks again for ever, with room for more cores each time.
  cpu_set_t mask;
  if (::sched_getaffinity(0, sizeof(mask), &mask) != 0 && errno != EINVAL) {
    return fail(ErrorKind::kUnsupported,
                "reading this machine's topology: " + base::call_text("sched_getaffinity", errno));
  }
  auto handle = std::make_unique<Handle>();
  keep_devices(handle->value, devices);
  auto topology = finish(std::move(handle), "reading this machine's topology");
  if (!topology) return topology;
  // hwloc has left out what the cgroup forbids; the affinity of the process (taskset, a batch
  // system, mpirun) is narrower still.
  Cpuset affinity;
  if (hwloc_get_cpubind(topology->handle_->value, affinity.bits_->value, HWLOC_CPUBIND_PROCESS) !=
          0 ||
      !affinity.intersects(topology->usable_)) {
    return topology;
  }
  topology->usable_ &= affinity;
  topology->find_cores();
  return topology;
}

Result<Topology> Topology::load_xml(const std::string& path, Devices devices) {
  auto handle = std::make_unique<Handle>();
  keep_devices(handle->value, devices);
  const std::string what = "reading a topology from '" + path + "'";
  if (hwloc_topology_set_xml(handle->value, path.c_str()) != 0) {
    return hwloc_error(ErrorKind::kInvalid, what);
  }
  return finish(std::move(handle), what);
}

Result<Topology> Topology::synthetic(const std::string& description) {
  auto handle = std::make_unique<Handle>();
  if (hwloc_topology_set_synthetic(handle->value, description.c_str()) != 0) {
    return hwloc_error(ErrorKind::kInvalid, "making a topology from '" + description + "'");
  }
  return finish(std::move(handle), "making a topology from '" + description + "'");
}

Result<Topology> Topology::finish(std::unique_ptr<Handle> handle, const std::string& what) {
  if (hwloc_topology_load(handle->value) != 0) return hwloc_error(ErrorKind::kInvalid, what);
  Topology topology(std::move(handle));
  hwloc_topology_t value = topology.handle_->value;
  hwloc_bitmap_copy(topology.machine_.bits_->value, hwloc_topology_get_topology_cpuset(value));
  hwloc_bitmap_copy(topology.usable_.bits_->value, hwloc_topology_get_allowed_cpuset(value));
  topology.find_nodes();
  topology.find_cores();
  if (topology.cores_.empty()) {
    return fail(ErrorKind::kUnsupported, what + ": it has no core that this process may use");
  }
  return topology;
}

Result<void> Topology::save_xml(const std::string& path) const {
  if (hwloc_topology_export_xml(handle_->value, path.c_str(), 0) != 0) {
    return hwloc_error(ErrorKind::kInvalid, "saving a topology to '" + path + "'");
  }
  return {};
}

void Topology::find_nodes() {
  hwloc_obj_t object = nullptr;
  while ((object = hwloc_get_next_obj_by_type(handle_->value, HWLOC_OBJ_NUMANODE, object)) !=
         nullptr) {
    NumaNode node;
    node.index = object->os_index;
    node.memory_bytes = object->attr->numanode.local_memory;
    hwloc_bitmap_copy(node.cpuset.bits_->value, object->cpuset);
    nodes_.push_back(std::move(node));
  }
}

void Topology::find_cores() {
  cores_.clear();
  // Some virtual machines and old kernels report no cores, only processing units.
  const int depth = hwloc_get_type_or_below_depth(handle_->value, HWLOC_OBJ_CORE);
  hwloc_obj_t object = nullptr;
  while ((object = hwloc_get_next_obj_by_depth(handle_->value, depth, object)) != nullptr) {
    Core core;
    core.index = object->logical_index;
    hwloc_bitmap_and(core.cpuset.bits_->value, object->cpuset, usable_.bits_->value);
    if (core.cpuset.empty()) continue;
    core.numa_node = nearest_numa_node(core.cpuset);
    const hwloc_obj_t cache =
        hwloc_get_ancestor_obj_by_type(handle_->value, HWLOC_OBJ_L3CACHE, object);
    core.cache = cache != nullptr ? cache->logical_index : core.numa_node;
    cores_.push_back(std::move(core));
  }
}

std::uint64_t Topology::total_memory_bytes() const noexcept {
  return hwloc_get_root_obj(handle_->value)->total_memory;
}

Result<void> Topology::restrict_to(std::string_view text) {
  auto wanted = Cpuset::parse(text);
  if (!wanted) return tl::unexpected<Error>(wanted.error());
  if (!wanted->intersects(usable_)) {
    return fail(ErrorKind::kInvalid, "none of the cores '" + std::string(text) +
                                         "' may be used here; usable are " + usable_.to_list());
  }
  // A set without an end, "4-", means what there is of it.
  if (wanted->count() != 0 && !usable_.contains(*wanted)) {
    Cpuset absent;
    hwloc_bitmap_andnot(absent.bits_->value, wanted->bits_->value, usable_.bits_->value);
    return fail(ErrorKind::kInvalid,
                "of the cores '" + std::string(text) + "' " + absent.to_list() +
                    " are not there or may not be used here; usable are " + usable_.to_list());
  }
  usable_ &= *wanted;
  find_cores();
  return {};
}

Result<void> Topology::restrict_to_first(std::size_t count) {
  if (count == 0 || count > cores_.size()) {
    return fail(ErrorKind::kInvalid, std::to_string(count) + " cores were asked for; 1 to " +
                                         std::to_string(cores_.size()) + " can be had (" +
                                         usable_.to_list() + ")");
  }
  Cpuset kept;
  for (std::size_t i = 0; i < count; ++i) kept |= cores_[i].cpuset;
  usable_ = std::move(kept);
  find_cores();
  return {};
}

unsigned Topology::nearest_numa_node(const Cpuset& cpuset) const noexcept {
  unsigned best = nodes_.empty() ? 0 : nodes_.front().index;
  std::size_t most = 0;
  for (const NumaNode& node : nodes_) {
    std::size_t shared = 0;
    for (int pu = hwloc_bitmap_first(cpuset.bits_->value); pu >= 0;
         pu = hwloc_bitmap_next(cpuset.bits_->value, pu)) {
      const auto index = static_cast<unsigned>(pu);
      if (index > kMaxPuIndex) break;  // the set has no end
      shared += hwloc_bitmap_isset(node.cpuset.bits_->value, index) != 0 ? 1 : 0;
    }
    if (shared > most) {
      most = shared;
      best = node.index;
    }
  }
  return best;
}

Cpuset Topology::near_pci_device(const std::string& address) const {
  Cpuset near;
  if (address.empty()) return near;
  const hwloc_obj_t device = hwloc_get_pcidev_by_busidstring(handle_->value, address.c_str());
  if (device == nullptr) return near;
  const hwloc_obj_t around = hwloc_get_non_io_ancestor_obj(handle_->value, device);
  if (around != nullptr) hwloc_bitmap_copy(near.bits_->value, around->cpuset);
  return near;
}

Result<void> Topology::bind_this_thread(const Cpuset& cpuset) const {
  return bind_thread(::pthread_self(), cpuset);
}

Result<void> Topology::bind_thread(pthread_t thread, const Cpuset& cpuset) const {
  const std::string what = "binding a thread to the cores '" + cpuset.to_list() + "'";
  if (hwloc_topology_is_thissystem(handle_->value) == 0) {
    return fail(ErrorKind::kUnsupported, what + ": the topology is not this machine's");
  }
  if (cpuset.empty() || !machine_.contains(cpuset)) {
    return fail(ErrorKind::kInvalid,
                what + ": not all of them are cores of this machine that may be used");
  }
  if (hwloc_set_thread_cpubind(handle_->value, thread, cpuset.bits_->value, 0) != 0) {
    const int number = errno;
    return fail(ErrorKind::kInvalid, what + ": " + base::call_text("sched_setaffinity", number),
                number);
  }
  return {};
}

}  // namespace sublet::topology
