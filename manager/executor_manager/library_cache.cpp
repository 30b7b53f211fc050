#include <base/shared_memory.hpp>
#include <executor/library/elf_functions.hpp>
#include <executor_manager/library_cache.hpp>

#include <kj/common.h>
#include <sodium.h>

#include <algorithm>
#include <atomic>
#include <mutex>
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

std::string LibraryCache::image_of(const Sha256& sha256) const {
  const auto entry = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& e) { return e.sha256 == sha256; });
  return entry == entries_.end() ? std::string() : entry->image;
}

/// One library on its way into the cache: shared by the promise and the thread, whichever of them
/// comes to its end last.
class LibraryCache::Examination {
 public:
  Examination(std::span<const std::byte> content, Content kind) : content_(content), kind_(kind) {}

  /// On the cache's thread. Null when abandoned before it began or in the middle.
  std::unique_ptr<Result<Entry>> run() {
    const std::lock_guard lock(reading_);
    if (abandoned_) return nullptr;
    const auto usable = kind_ == Content::kLibrary ? executor::check_library(content_)
                                                   : executor::check_program(content_);
    if (!usable) return failed(usable.error());
    Entry entry{};
    if (!hash(entry.sha256)) return nullptr;
    auto memory = base::SharedMemory::sealed_copy("sublet-library", content_);
    if (!memory) return failed(memory.error());
    entry.memory = std::make_shared<base::Fd>(std::move(*memory));
    entry.bytes = content_.size();
    entry.image = executor::image_named_in(content_);
    return std::make_unique<Result<Entry>>(std::move(entry));
  }

  /// On the loop: from the return on, the content is not read any more.
  void abandon() {
    abandoned_ = true;
    const std::lock_guard lock(reading_);
  }

 private:
  static std::unique_ptr<Result<Entry>> failed(const Error& error) {
    return std::make_unique<Result<Entry>>(tl::unexpected<Error>(error));
  }

  /// In pieces, so that abandon() waits for one of them, not for all. False when abandoned.
  bool hash(Sha256& sha256) const {
    crypto_hash_sha256_state state;
    crypto_hash_sha256_init(&state);
    for (std::size_t at = 0; at < content_.size(); at += kPiece) {
      if (abandoned_) return false;
      const auto piece = content_.subspan(at, std::min(kPiece, content_.size() - at));
      crypto_hash_sha256_update(&state, reinterpret_cast<const unsigned char*>(piece.data()),
                                piece.size());
    }
    crypto_hash_sha256_final(&state, sha256.data());
    return true;
  }

  static constexpr std::size_t kPiece = std::size_t{1} << 20;

  const std::span<const std::byte> content_;
  const Content kind_;
  std::atomic<bool> abandoned_{false};
  std::mutex reading_;  ///< Held by the thread while it reads the content.
};

kj::Promise<Result<Sha256>> LibraryCache::install(std::span<const std::byte> content,
                                                  Content kind) {
  if (content.size() > wire::kMaxLibraryBytes) {
    return Result<Sha256>(
        fail(ErrorKind::kInvalid, "the library has " + std::to_string(content.size()) +
                                      " bytes; at most " + std::to_string(wire::kMaxLibraryBytes) +
                                      " are allowed"));
  }
  using Examined = std::unique_ptr<Result<Entry>>;
  auto pair = kj::newPromiseAndCrossThreadFulfiller<Examined>();
  auto examination = std::make_shared<Examination>(content, kind);
  // A std::function can be copied, a fulfiller cannot.
  auto fulfiller = std::make_shared<decltype(pair.fulfiller)>(kj::mv(pair.fulfiller));
  thread_->post([examination, fulfiller] {
    // Who has abandoned it does not wait for an answer either.
    if (auto examined = examination->run()) (*fulfiller)->fulfill(std::move(examined));
  });
  return pair.promise
      .then([this](Examined examined) -> Result<Sha256> {
        if (!*examined) return tl::unexpected<Error>(examined->error());
        return keep(std::move(**examined));
      })
      .attach(kj::defer([examination] { examination->abandon(); }));
}

Sha256 LibraryCache::keep(Entry entry) {
  const Sha256 sha256 = entry.sha256;
  if (find(sha256)) return sha256;
  bytes_ += entry.bytes;
  entries_.push_front(std::move(entry));
  while (entries_.size() > wire::kMaxCachedLibraries ||
         (bytes_ > most_bytes_ && entries_.size() > 1)) {
    bytes_ -= entries_.back().bytes;
    entries_.pop_back();
  }
  return sha256;
}

}  // namespace sublet::manager
