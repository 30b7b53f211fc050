#include <client/staging.hpp>
#include <transport/tuning.hpp>

#include <algorithm>
#include <cstring>
#include <new>

namespace sublet::client {
namespace {

using transport::Arena;
using transport::tuning::kStagingBytes;

std::size_t padded(std::size_t size) noexcept {
  return (size + Arena::kGranule - 1) / Arena::kGranule * Arena::kGranule;
}

}  // namespace

std::size_t staging_bytes(const PendingCall& call, bool in, bool out) noexcept {
  return (in ? padded(call.in_size) : 0) + (out ? padded(call.out_capacity) : 0);
}

bool Staging::take(PendingCall& call, bool in, bool out) noexcept {
  const std::size_t bytes = std::max(staging_bytes(call, in, out), kStagingBytes);
  std::byte* block = allocate(bytes);
  if (block == nullptr) return false;
  ++lent_;
  const std::size_t in_bytes = in ? padded(call.in_size) : 0;
  call.staged = {block, bytes, out ? in_bytes : Staged::kInPlace};
  if (in) std::memcpy(block, call.in, call.in_size);
  return true;
}

std::byte* Staging::allocate(std::size_t bytes) noexcept {
  if (bytes == kStagingBytes && !kept_.empty()) {
    std::byte* block = kept_.back();
    kept_.pop_back();
    return block;
  }
  try {
    return static_cast<std::byte*>(arena_->allocate(bytes, Arena::kGranule));
  } catch (const std::bad_alloc&) {
    if (kept_.empty()) return nullptr;
  }
  trim();  // what is kept may be what is missing
  try {
    return static_cast<std::byte*>(arena_->allocate(bytes, Arena::kGranule));
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void Staging::give_back(PendingCall& call) noexcept {
  const Staged staged = std::exchange(call.staged, Staged{});
  if (staged.block == nullptr) return;
  if (staged.out_at != Staged::kInPlace && call.reply.status == Status::kOk) {
    std::memcpy(call.out, staged.block + staged.out_at,
                std::min<std::size_t>(call.reply.size, call.out_capacity));
  }
  --lent_;
  if (staged.bytes == kStagingBytes) {
    kept_.push_back(staged.block);
  } else {
    arena_->deallocate(staged.block, staged.bytes, Arena::kGranule);
  }
}

void Staging::trim() noexcept {
  for (std::byte* block : kept_) arena_->deallocate(block, kStagingBytes, Arena::kGranule);
  kept_.clear();
}

}  // namespace sublet::client
