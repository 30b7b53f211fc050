#include <base/shared_memory.hpp>
#include <executor/library/elf_functions.hpp>
#include <executor_manager/library_cache.hpp>

#include <sodium.h>

#include <algorithm>
#include <string>
#include <utility>

namespace sublet::manager {

std::shared_ptr<base::Fd> LibraryCache::find(const Sha256& sha256) {
  const auto entry = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& e) { return e.sha256 == sha256; });
  if (entry == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, entry);
  return entries_.front().memory;
}

Result<Sha256> LibraryCache::install(std::span<const std::byte> content) {
  if (content.size() > wire::kMaxLibraryBytes) {
    return fail(ErrorKind::kInvalid, "the library has " + std::to_string(content.size()) +
                                         " bytes; at most " +
                                         std::to_string(wire::kMaxLibraryBytes) + " are allowed");
  }
  if (auto usable = executor::check_library(content); !usable) {
    return tl::unexpected<Error>(usable.error());
  }
  Sha256 sha256{};
  crypto_hash_sha256(sha256.data(), reinterpret_cast<const unsigned char*>(content.data()),
                     content.size());
  if (find(sha256)) return sha256;
  auto memory = base::SharedMemory::sealed_copy("sublet-library", content);
  if (!memory) return tl::unexpected<Error>(memory.error());
  entries_.push_front({sha256, std::make_shared<base::Fd>(std::move(*memory))});
  if (entries_.size() > wire::kMaxCachedLibraries) entries_.pop_back();
  return sha256;
}

}  // namespace sublet::manager
