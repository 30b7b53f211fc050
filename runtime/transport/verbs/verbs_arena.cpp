#include <transport/verbs/verbs_arena.hpp>
#include <transport/verbs/verbs_tuning.hpp>

#include <algorithm>
#include <bit>
#include <utility>

namespace sublet::transport::verbs {
namespace {

struct Known {
  const Arena* arena;
  const ibv_context* device;
  std::weak_ptr<ArenaDomain> domain;
};

}  // namespace

Result<std::shared_ptr<ArenaDomain>> ArenaDomain::of(const std::shared_ptr<Arena>& arena,
                                                     ibv_context* device) {
  // A channel is opened with nothing but its arena in common with the others of its lease, so this
  // is where they meet. Channels keep the arena alive: its address names it as long as the entry
  // lives.
  static std::mutex mutex;
  static std::vector<Known> all;
  const std::lock_guard lock(mutex);
  std::erase_if(all, [](const Known& known) { return known.domain.expired(); });
  for (const Known& known : all) {
    if (known.arena != arena.get() || known.device != device) continue;
    if (auto domain = known.domain.lock()) return domain;
  }
  auto domain = make_domain(device);
  if (!domain) return tl::unexpected<Error>(std::move(domain.error()));
  auto made = std::make_shared<ArenaDomain>(arena, std::move(*domain));
  all.push_back({arena.get(), device, made});
  return made;
}

Result<std::shared_ptr<const ArenaDomain::Part>> ArenaDomain::covering(std::uint64_t end) {
  const std::lock_guard lock(mutex_);
  if (part_ && end <= part_->size) return part_;
  const std::uint64_t most = arena_->size();
  const std::uint64_t size = std::min<std::uint64_t>(
      most, std::max<std::uint64_t>(kFirstRegistration, std::bit_ceil(std::min(end, most))));
  auto region =
      register_memory(domain_.get(), arena_->data(), size,
                      IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE);
  if (!region) return tl::unexpected<Error>(std::move(region.error()));
  part_ = std::make_shared<const Part>(Part{std::move(*region), size});
  return part_;
}

}  // namespace sublet::transport::verbs
