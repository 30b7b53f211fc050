#pragma once

#include <common/message_budget.hpp>
#include <common/message_lane.hpp>
#include <common/peer.hpp>
#include <wire/limits.hpp>

#include <capnp/serialize-async.h>
#include <kj/timer.h>

#include <array>
#include <memory>

namespace sublet::manager {

/// The messages of a connection whose other end may be anybody.
///
/// Reads nothing while what was written is not taken: answers that nobody reads stay at whoever
/// asked. Messages of a busy peer that holds nothing, or of one of a crowd, wait in the lane, for
/// it to have no more of the loop than others. A message is refused by its announced size before
/// memory is found for it, and ends the connection when it does not come, or is not taken, in time.
///
/// Owner: the connection, before (so that it outlives) the network that speaks through it.
class GuardedStream final : public capnp::MessageStream {
 public:
  /// What all connections of a process share.
  struct Budgets {
    MessageBudget strangers{wire::kStrangersMessages};
    MessageBudget holders{wire::kHoldersMessages};
    MessageLane lane;
    unsigned newcomers = 0;
  };

  /// `peer` has a place. Its stream must not be used by others.
  GuardedStream(std::shared_ptr<Peer> peer, kj::Timer& timer, Budgets& budgets);

  kj::Promise<kj::Maybe<capnp::MessageReaderAndFds>> tryReadMessage(
      kj::ArrayPtr<kj::AutoCloseFd> fds, capnp::ReaderOptions options,
      kj::ArrayPtr<capnp::word> scratch) override;
  kj::Promise<void> writeMessage(
      kj::ArrayPtr<const int> fds,
      kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) override;
  kj::Promise<void> writeMessages(
      kj::ArrayPtr<kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>>> messages) override;
  kj::Maybe<int> getSendBufferSize() override { return stream_.getSendBufferSize(); }
  /// The listener closes the connection: see there when.
  kj::Promise<void> end() override { return kj::READY_NOW; }

 private:
  using Message = kj::Maybe<capnp::MessageReaderAndFds>;
  static constexpr std::size_t kMaxSegments = 64;  ///< More than messages of this program have.

  kj::Promise<void> until_written();
  kj::Promise<std::size_t> first_bytes();
  kj::Promise<void> read_all(void* to, std::size_t bytes);
  kj::Promise<void> read_pieces(kj::ArrayPtr<kj::byte> to);
  kj::Promise<void> read_table(std::size_t have);
  kj::Promise<Message> read_body();
  kj::Promise<Message> in_turn(Message message);
  kj::Promise<void> written(kj::Promise<void> writing, std::size_t bytes);

  std::shared_ptr<Peer> peer_;
  ConnectionTable::Place& place_;
  kj::Timer& timer_;
  Budgets& budgets_;
  capnp::AsyncIoMessageStream stream_;
  /// Of the message that is being read: the number of segments less one, and their sizes in words.
  std::array<std::uint32_t, kMaxSegments + 2> table_{};
  MessageRate rate_;
  bool writing_ = false;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> written_;  ///< Who waits for that.
};

}  // namespace sublet::manager
