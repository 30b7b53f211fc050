#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

namespace sublet::transport::verbs {

/// What this process has learned of an RDMA device that it has open.
///
/// It ends with the last protection domain of the device, and so before the device is closed: the
/// next device may get the same address. Owner: those domains (see make_domain), shared. Any
/// thread; off the hot path.
class DeviceState {
 public:
  /// The one of this open device, made when there is none.
  static std::shared_ptr<DeviceState> of(ibv_context* device);

  explicit DeviceState(ibv_context* device) : device_(device) {}

  /// The most bytes a queue pair of the device sends inline: found by asking for less and less,
  /// once.
  [[nodiscard]] std::uint32_t max_inline();

  /// Reads what the device has to say of itself. True once it has failed or was removed.
  [[nodiscard]] bool is_dead() noexcept;

 private:
  ibv_context* const device_;
  std::mutex mutex_;
  std::optional<std::uint32_t> max_inline_;
  bool dead_ = false;
};

}  // namespace sublet::transport::verbs
