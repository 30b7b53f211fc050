#pragma once

#include <kj/async.h>
#include <kj/memory.h>

#include <cstddef>
#include <list>
#include <map>
#include <string>

namespace sublet::manager {

/// Memory for messages that are not small, of all connections of a process together: from their
/// first word until the call they carry has let go of them. Who finds no room waits; one owner gets
/// half of it at most.
///
/// Owner: as ConnectionTable; outlives its shares. On the loop.
class MessageBudget {
 public:
  class Share {
   public:
    Share(MessageBudget& budget, std::string owner, std::size_t bytes);
    ~Share() noexcept(false);
    KJ_DISALLOW_COPY(Share);

   private:
    MessageBudget& budget_;
    std::string owner_;
    std::size_t bytes_;
  };

  explicit MessageBudget(std::size_t bytes) : bytes_(bytes) {}
  KJ_DISALLOW_COPY(MessageBudget);

  /// `bytes` are at most half of the budget. First come, first served, but nobody waits behind an
  /// owner who has all that one may have.
  kj::Promise<kj::Own<Share>> take(const std::string& owner, std::size_t bytes);

  [[nodiscard]] std::size_t used() const noexcept { return used_; }

 private:
  struct Waiting {
    std::string owner;
    std::size_t bytes;
    kj::Own<kj::PromiseFulfiller<kj::Own<Share>>> fulfiller;
  };
  [[nodiscard]] bool fits_owner(const std::string& owner, std::size_t bytes) const;
  void serve_waiting();

  const std::size_t bytes_;
  std::size_t used_ = 0;
  std::map<std::string, std::size_t> owners_;
  std::list<Waiting> waiting_;
};

}  // namespace sublet::manager
