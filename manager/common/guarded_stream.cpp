#include <common/async.hpp>
#include <common/guarded_stream.hpp>

#include <capnp/serialize.h>

#include <algorithm>
#include <bit>
#include <utility>

namespace sublet::manager {
namespace {

using capnp::word;

static_assert(std::endian::native == std::endian::little, "as Cap'n Proto sends it");

/// Read in one turn of the loop.
constexpr std::size_t kPiece = 256u << 10;

/// A message may be read this often over: fields are looked at, and then taken. More would let few
/// bytes that point to one another cost much time.
constexpr std::size_t kReadings = 8;

/// What a slow network carries of a long message in a second.
constexpr std::size_t kBytesPerSecond = 1u << 20;

constexpr unsigned kSpreadSeconds = 10;

/// At what came while this process was stopped.
constexpr kj::Duration kLastLook = 50 * kj::MILLISECONDS;

std::chrono::seconds time_for(std::size_t bytes) {
  return wire::kMessageTime + std::chrono::seconds(bytes / kBytesPerSecond);
}

capnp::ReaderOptions options_for(std::size_t words) {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = kReadings * words + 1024;
  return options;
}

/// As within(), for waits that thousands of connections are in: it does not count the time in which
/// this process ran, but lets it look once more at what came while it was stopped.
template <class T>
kj::Promise<T> in_time(kj::Timer& timer, std::chrono::seconds limit, kj::Promise<T> promise,
                       const char* what) {
  auto late = timer.afterDelay(to_kj(limit))
                  .then([&timer] { return timer.afterDelay(kLastLook); })
                  .then([what, limit]() -> T {
                    kj::throwFatalException(KJ_EXCEPTION(
                        OVERLOADED, kj::str(what, " took longer than ", limit.count(), " s")));
                  });
  return promise.exclusiveJoin(kj::mv(late));
}

std::size_t bytes_of(kj::ArrayPtr<const kj::ArrayPtr<const word>> segments) {
  std::size_t words = 0;
  for (const auto& segment : segments) words += segment.size();
  return words * sizeof(word);
}

}  // namespace

GuardedStream::GuardedStream(std::shared_ptr<Peer> peer, kj::Timer& timer, Budgets& budgets)
    : peer_(std::move(peer)),
      place_(*peer_->place()),
      timer_(timer),
      budgets_(budgets),
      stream_(peer_->stream()) {}

// ---- in ----

kj::Promise<GuardedStream::Message> GuardedStream::tryReadMessage(kj::ArrayPtr<kj::AutoCloseFd>,
                                                                  capnp::ReaderOptions,
                                                                  kj::ArrayPtr<word>) {
  return until_written()
      .then([this] { return first_bytes(); })
      .then([this](std::size_t have) -> kj::Promise<Message> {
        if (have == 0) return Message(nullptr);
        return in_time(timer_, wire::kMessageTime, read_table(have), "the start of a message")
            .then([this] { return read_body(); })
            .then([this](Message&& message) { return in_turn(kj::mv(message)); });
      });
}

/// What a busy peer sends waits in the lane, unless the peer holds something. So does what any of a
/// crowd sends: each that comes again and again would have the first messages free.
kj::Promise<GuardedStream::Message> GuardedStream::in_turn(Message message) {
  const bool is_busy = rate_.is_busy(timer_.now()) || place_.is_of_a_crowd();
  if (!is_busy || place_.holds()) return kj::mv(message);
  return budgets_.lane.enter(timer_).then(
      [message = kj::mv(message)]() mutable { return kj::mv(message); });
}

kj::Promise<void> GuardedStream::until_written() {
  if (!writing_) return kj::READY_NOW;
  auto paf = kj::newPromiseAndFulfiller<void>();
  written_ = kj::mv(paf.fulfiller);
  // Later, for the next message in line to begin.
  return paf.promise.then([this] { return kj::evalLater([this] { return until_written(); }); });
}

/// Waits as long as the peer likes, but for the first message.
kj::Promise<std::size_t> GuardedStream::first_bytes() {
  auto read = peer_->stream().tryRead(table_.data(), 1, sizeof(word));
  if (place_.was_heard()) return read;
  // Thousands that came together and say nothing are not closed together.
  const std::chrono::seconds more(budgets_.newcomers++ % kSpreadSeconds);
  return in_time(timer_, wire::kFirstMessage + more, kj::mv(read), "the first message");
}

kj::Promise<void> GuardedStream::read_all(void* to, std::size_t bytes) {
  return peer_->stream().tryRead(to, bytes, bytes).then([bytes](std::size_t have) {
    if (have == bytes) return;
    kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "closed in the middle of a message"));
  });
}

kj::Promise<void> GuardedStream::read_pieces(kj::ArrayPtr<kj::byte> to) {
  const std::size_t piece = std::min(kPiece, to.size());
  auto reading = read_all(to.begin(), piece);
  if (piece == to.size()) return reading;
  return reading.then([this, rest = to.slice(piece, to.size())] {
    return kj::evalLater([this, rest] { return read_pieces(rest); });
  });
}

/// The count of segments and the sizes of all of them, padded to whole words.
kj::Promise<void> GuardedStream::read_table(std::size_t have) {
  auto* const bytes = reinterpret_cast<kj::byte*>(table_.data());
  auto start = have < sizeof(word) ? read_all(bytes + have, sizeof(word) - have)
                                   : kj::Promise<void>(kj::READY_NOW);
  return start.then([this, bytes]() -> kj::Promise<void> {
    if (table_[0] >= kMaxSegments) {
      return KJ_EXCEPTION(FAILED, "no message begins like this");
    }
    const std::size_t words = table_[0] / 2 + std::size_t{table_[0] % 2};
    if (words == 0) return kj::READY_NOW;
    return read_all(bytes + sizeof(word), words * sizeof(word));
  });
}

kj::Promise<GuardedStream::Message> GuardedStream::read_body() {
  const std::size_t segments = std::size_t{table_[0]} + 1;
  const std::size_t table_words = segments / 2 + 1;
  std::size_t words = table_words;
  for (std::size_t i = 1; i <= segments; ++i) words += table_[i];
  const std::size_t bytes = words * sizeof(word);
  const std::size_t most = place_.holds() ? wire::kMaxMessageBytes : wire::kMaxStrangersMessage;
  if (bytes > most) {
    return KJ_EXCEPTION(FAILED, "a message is too large", bytes, most);
  }
  using Share = kj::Own<MessageBudget::Share>;
  kj::Promise<kj::Maybe<Share>> room = kj::Maybe<Share>(nullptr);
  if (bytes > wire::kSmallMessage) {
    auto& budget = place_.holds() ? budgets_.holders : budgets_.strangers;
    room = budget.take(place_.owner(), bytes).then([](Share&& share) {
      return kj::Maybe<Share>(kj::mv(share));
    });
  }
  return room.then([this, words, table_words](kj::Maybe<Share>&& share) mutable {
    auto content = kj::heapArray<word>(words);
    auto all = content.asBytes();
    std::copy_n(reinterpret_cast<const kj::byte*>(table_.data()), table_words * sizeof(word),
                all.begin());
    auto reading = read_pieces(all.slice(table_words * sizeof(word), all.size()));
    return in_time(timer_, time_for(all.size()), kj::mv(reading), "the rest of a message")
        .then([this, words, content = kj::mv(content), share = kj::mv(share)]() mutable -> Message {
          place_.heard();
          kj::Own<capnp::MessageReader> reader =
              kj::heap<capnp::FlatArrayMessageReader>(content.asPtr(), options_for(words))
                  .attach(kj::mv(content), kj::mv(share), peer_);
          return capnp::MessageReaderAndFds{kj::mv(reader), nullptr};
        });
  });
}

// ---- out ----

kj::Promise<void> GuardedStream::writeMessage(
    kj::ArrayPtr<const int> fds, kj::ArrayPtr<const kj::ArrayPtr<const word>> segments) {
  return written(kj::evalNow([&] { return stream_.writeMessage(fds, segments); }),
                 bytes_of(segments));
}

kj::Promise<void> GuardedStream::writeMessages(
    kj::ArrayPtr<kj::ArrayPtr<const kj::ArrayPtr<const word>>> messages) {
  std::size_t bytes = 0;
  for (const auto& segments : messages) bytes += bytes_of(segments);
  return written(kj::evalNow([&] { return stream_.writeMessages(messages); }), bytes);
}

/// A peer that has closed is told by its reads: what it said before, such as how its leases have
/// ended, is still to be read by a manager that was stopped meanwhile.
kj::Promise<void> GuardedStream::written(kj::Promise<void> writing, std::size_t bytes) {
  writing_ = true;
  auto forgiven = writing.catch_([](kj::Exception&& exception) {
    if (exception.getType() != kj::Exception::Type::DISCONNECTED) {
      kj::throwFatalException(kj::mv(exception));
    }
  });
  return in_time(timer_, time_for(bytes), kj::mv(forgiven), "reading what was sent")
      .attach(kj::defer([this] {
        writing_ = false;
        KJ_IF_MAYBE (waiting, written_) {
          (*waiting)->fulfill();
        }
        written_ = nullptr;
      }));
}

}  // namespace sublet::manager
