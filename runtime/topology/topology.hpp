#pragma once

#include <sublet/result.hpp>
#include <topology/cpuset.hpp>

#include <pthread.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace sublet::topology {

/// A physical core, with those of its hardware threads that may be used.
struct Core {
  unsigned index = 0;  ///< Position among the machine's cores, in hwloc's order.
  Cpuset cpuset;
  unsigned cache = 0;      ///< Cores with the same number share their last cache.
  unsigned numa_node = 0;  ///< Operating-system index of the nearest one.
};

struct NumaNode {
  unsigned index = 0;  ///< The operating system's.
  std::uint64_t memory_bytes = 0;
  Cpuset cpuset;  ///< The processing units it is nearest to.
};

/// What a topology is loaded with beside cores and memory. Looking for devices costs most of the
/// time.
enum class Devices : std::uint8_t { kNone, kPci };

/// What this machine offers to this process: cores, memory, who is near whom; and the binding of
/// threads to cores.
///
/// Owner: whoever loaded it; movable. Any thread may read it; restrict_*() only before it is
/// shared. Loading takes some milliseconds, all else microseconds.
class Topology {
 public:
  /// This machine, as far as the cgroup and the affinity of this process allow.
  static Result<Topology> load(Devices devices = Devices::kNone);
  /// A topology that was saved as XML: to plan, and for tests. Threads cannot be bound to it.
  static Result<Topology> load_xml(const std::string& path, Devices devices = Devices::kNone);
  /// From hwloc's description, for instance "package:2 core:4 pu:2". As load_xml otherwise.
  static Result<Topology> synthetic(const std::string& description);

  Topology(Topology&&) noexcept;
  Topology& operator=(Topology&&) noexcept;
  ~Topology();

  [[nodiscard]] Result<void> save_xml(const std::string& path) const;

  /// The usable cores, in hwloc's order: neighbours share caches.
  [[nodiscard]] const std::vector<Core>& cores() const noexcept { return cores_; }
  /// All usable processing units.
  [[nodiscard]] const Cpuset& cpuset() const noexcept { return usable_; }
  /// All processing units that a thread can be bound to, whatever the affinity of this process.
  [[nodiscard]] const Cpuset& machine() const noexcept { return machine_; }
  [[nodiscard]] const std::vector<NumaNode>& numa_nodes() const noexcept { return nodes_; }
  /// Of the whole machine, whatever the process may use.
  [[nodiscard]] std::uint64_t total_memory_bytes() const noexcept;

  /// Keeps only what lies in `text` too (hwloc's syntax). kInvalid when the text is wrong or
  /// nothing is left.
  [[nodiscard]] Result<void> restrict_to(std::string_view text);
  /// Keeps the first `count` usable cores. kInvalid when there are fewer.
  [[nodiscard]] Result<void> restrict_to_first(std::size_t count);

  /// The NUMA node that most of `cpuset` is nearest to.
  [[nodiscard]] unsigned nearest_numa_node(const Cpuset& cpuset) const noexcept;

  /// The processing units nearest to the device at `address`, for instance "0000:07:00.0". Empty
  /// when there is no such device, or it was loaded without devices.
  [[nodiscard]] Cpuset near_pci_device(const std::string& address) const;

  /// Binds a thread to `cpuset`. kInvalid when the machine lacks a part of it, kUnsupported on a
  /// topology that is not this machine's.
  [[nodiscard]] Result<void> bind_this_thread(const Cpuset& cpuset) const;
  [[nodiscard]] Result<void> bind_thread(pthread_t thread, const Cpuset& cpuset) const;

 private:
  struct Handle;
  explicit Topology(std::unique_ptr<Handle> handle);
  static Result<Topology> finish(std::unique_ptr<Handle> handle, const std::string& what);
  void find_nodes();
  void find_cores();

  std::unique_ptr<Handle> handle_;
  Cpuset machine_;
  Cpuset usable_;
  std::vector<NumaNode> nodes_;
  std::vector<Core> cores_;
};

}  // namespace sublet::topology
