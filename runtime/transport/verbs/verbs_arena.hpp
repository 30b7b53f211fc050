#pragma once

#include <transport/arena.hpp>
#include <transport/verbs/verbs_objects.hpp>

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace sublet::transport::verbs {

/// An arena as one device sees it: a protection domain of its own (so that the keys given to the
/// workers of its lease open nothing else), and one registration of its first part, shared by all
/// channels.
///
/// It is not registered whole: registering locks memory, and most of a large arena is never used.
/// When a payload lies beyond the registered part, that part is doubled; the key travels with each
/// request.
///
/// Owner: the channels of the arena, shared. Any thread. Off the hot path.
class ArenaDomain {
 public:
  /// The one of this arena and device, made when there is none.
  static Result<std::shared_ptr<ArenaDomain>> of(const std::shared_ptr<Arena>& arena,
                                                 ibv_context* device);

  struct Part {
    Region region;
    std::uint64_t size = 0;  ///< Of the arena's first bytes.
  };

  /// What is registered covers at least `end` bytes afterwards. Those who have the one before keep
  /// it alive for their calls under way.
  Result<std::shared_ptr<const Part>> covering(std::uint64_t end);

  [[nodiscard]] ibv_pd* domain() const noexcept { return domain_.get(); }
  [[nodiscard]] ibv_context* device() const noexcept { return domain_->context; }

  ArenaDomain(std::shared_ptr<Arena> arena, Domain domain)
      : arena_(std::move(arena)), domain_(std::move(domain)) {}

 private:
  std::shared_ptr<Arena> arena_;
  Domain domain_;
  std::mutex mutex_;
  std::shared_ptr<const Part> part_;
};

}  // namespace sublet::transport::verbs
