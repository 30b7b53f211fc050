#include <base/log.hpp>
#include <common/async.hpp>

#include <ledger/ledger.hpp>
#include <ledger/ledger_check.hpp>
#include <ledger/ledger_reader.hpp>

#include <algorithm>
#include <utility>

namespace sublet::manager {
namespace {

/// How long what nobody waits for stays in memory alone: usage, which nodes tell again.
constexpr milliseconds kFlush{250};
constexpr milliseconds kRetry{1000};
/// Looks at a commit that is under way, kFlush apart, before the disk counts as hung.
constexpr unsigned kMostLooks = 40;
/// Lease numbers that may be in use without being written: of leases that were never granted.
constexpr std::uint64_t kNumbersAhead = 1u << 16;

}  // namespace

Result<kj::Own<Ledger>> Ledger::open(const std::string& directory, const Prices& prices,
                                     kj::Timer& timer, Clock clock, const MakeJobs& make_jobs) {
  auto state = StateDirectory::open(directory);
  if (!state) return tl::unexpected<Error>(std::move(state.error()));
  try {
    auto writer = std::make_unique<LedgerWriter>(directory + "/ledger.db");
    writer->set_prices(prices, clock());
    return kj::heap<Ledger>(std::move(*state), std::move(writer), timer, std::move(clock),
                            make_jobs);
  } catch (const Error& error) {
    return tl::unexpected<Error>(error);
  }
}

Ledger::Ledger(StateDirectory directory, std::unique_ptr<LedgerWriter> writer, kj::Timer& timer,
               Clock clock, const MakeJobs& make_jobs)
    : directory_(std::move(directory)),
      path_(directory_.path() + "/ledger.db"),
      timer_(timer),
      clock_(std::move(clock)),
      open_(writer->open_grants()),
      unused_lease_(LeaseId{writer->unused_lease()}),
      quotas_(writer->quotas()),
      writer_(std::move(writer)),
      writing_thread_(make_jobs()),
      reading_thread_(make_jobs()),
      tasks_(*this) {
  tasks_.add(flush_loop());
}

Ledger::~Ledger() noexcept {
  // After the commit that is under way.
  if (!unwritten_.empty()) {
    auto last = std::make_shared<const Changes>(std::move(unwritten_));
    tasks_.add(writing_thread_
                   ->run<bool>([writer = writer_, last] {
                     const auto done = writer->commit(*last);
                     if (!done)
                       base::log().error("the ledger's end is lost: {}", done.error().what());
                     return done.has_value();
                   })
                   .ignoreResult());
  }
}

kj::Promise<Result<void>> Ledger::set_prices(const Prices& prices) {
  return writing_thread_->run<Result<void>>(
      [writer = writer_, prices, now = clock_()]() -> Result<void> {
        try {
          writer->set_prices(prices, now);
          return {};
        } catch (const Error& error) {
          return tl::unexpected<Error>(error);
        }
      });
}

void Ledger::taskFailed(kj::Exception&& exception) {
  base::log().error("the ledger: {}", text_of(exception));
}

// ---- what happens ----

EntryChange& Ledger::change(const GrantOnNode& grant) {
  unwritten_.told = ++told_;
  const GrantKey& key = grant.terms.key;
  return unwritten_.entries[{key.lease, key.part, grant.node.node_id}];
}

void Ledger::granted(const GrantOnNode& grant) {
  EntryChange opening;
  opening.opened = {grant.terms, clock_() - grant.terms.held_for};
  change(grant).add(std::move(opening));
  unwritten_.nodes.try_emplace(grant.node.node_id, grant.node);
}

void Ledger::claimed(const GrantOnNode& grant) {
  change(grant).claimed = true;
}

void Ledger::used(const GrantOnNode& grant, const Usage& so_far) {
  change(grant).usage = so_far;
}

void Ledger::extended(const GrantOnNode& grant) {
  change(grant).expires = grant.terms.expires;
}

void Ledger::ended(const GrantOnNode& grant, const Usage& in_all, const GrantEnding& ending) {
  EntryChange& entry = change(grant);
  entry.closed = {clock_() - ending.ago, ending.how, ending.reason};
  // Else the last usage that was heard stays, and it is in the ledger already.
  if (ending.how == GrantEnd::kReported) entry.usage = in_all;
}

void Ledger::numbered(LeaseId lease) {
  unwritten_.unused_lease = std::max(unwritten_.unused_lease, number(lease) + kNumbersAhead);
}

void Ledger::quota_set(std::optional<std::uint32_t> uid, const wire::LeaseQuota* quota) {
  unwritten_.told = ++told_;
  unwritten_.quotas[uid ? std::int64_t{*uid} : kEverybody] =
      quota == nullptr ? std::nullopt : std::optional(*quota);
}

/// On this thread: nothing is being written yet.
std::vector<std::pair<std::uint32_t, std::int64_t>> Ledger::used_since(Time begin) {
  try {
    return writer_->used_since(begin, clock_());
  } catch (const Error& error) {
    base::log().error("what users have used today is not known: {}", error.what());
    return {};
  }
}

// ---- commits ----

Result<void> Ledger::ready() const {
  if (failure_) {
    return fail(ErrorKind::kOverloaded,
                std::string("no leases are granted while the ledger cannot be written: ") +
                    failure_->what());
  }
  if (unwritten_.entries.size() >= kMaxUnwritten) {
    return fail(ErrorKind::kOverloaded,
                "no leases are granted until the ledger has been written: the disk of " + path_ +
                    " is slow; try again");
  }
  return {};
}

kj::Promise<Result<void>> Ledger::keep() {
  if (kept_ == told_) return Result<void>{};
  if (writing_ != nullptr && looks_ >= kMostLooks) {
    return Result<void>(tl::unexpected<Error>(*failure_));
  }
  auto pair = kj::newPromiseAndFulfiller<Result<void>>();
  if (unwritten_.told <= kept_) {
    waiting_for_commit_.push_back(kj::mv(pair.fulfiller));
  } else {
    waiting_.push_back(kj::mv(pair.fulfiller));
    write_soon();
  }
  return kj::mv(pair.promise);
}

/// Once all that can happen now has happened: others may wait for the same.
void Ledger::write_soon() {
  if (writing_ != nullptr || std::exchange(soon_, true)) return;
  tasks_.add(kj::evalLast([this] {
    soon_ = false;
    write();
  }));
}

void Ledger::write() {
  if (writing_ != nullptr || unwritten_.empty()) return;
  const auto changes = std::make_shared<const Changes>(std::exchange(unwritten_, {}));
  writing_ = changes;
  looks_ = 0;
  waiting_for_commit_ = std::exchange(waiting_, {});
  tasks_.add(
      writing_thread_
          ->run<Result<void>>([writer = writer_, changes] { return writer->commit(*changes); })
          .then([this](Result<void>&& done) { note_written(std::move(done)); }));
}

void Ledger::note_written(Result<void> done) {
  const auto written = std::exchange(writing_, nullptr);
  Waiting waiting = std::exchange(waiting_for_commit_, {});
  if (done) {
    ++commits_;
    kept_ = std::max(kept_, written->told);
    if (failure_) base::log().info("the ledger is written again, and leases are granted");
    failure_.reset();
  } else {
    if (!failure_) {
      base::log().error("no leases are granted, what runs goes on: {}", done.error().what());
    }
    failure_ = done.error();
    retry_ = clock_() + kRetry;
    Changes all = *written;
    all.add(std::exchange(unwritten_, {}));
    unwritten_ = std::move(all);
    // They would wait for what cannot be written now.
    for (auto& one : std::exchange(waiting_, {})) waiting.push_back(kj::mv(one));
  }
  answer(kj::mv(waiting), done);
  if (!waiting_.empty()) write_soon();
}

/// The commit may still succeed: then note_written() ends this.
void Ledger::note_hung() {
  const auto hung = fail(ErrorKind::kOverloaded,
                         "writing the ledger " + path_ + ": the disk has not answered for " +
                             std::to_string((kMostLooks * kFlush).count() / 1000) +
                             " s; see that it is healthy, and it goes on by itself");
  if (!failure_)
    base::log().error("no leases are granted, what runs goes on: {}", hung.value().what());
  failure_ = hung.value();
  answer(std::exchange(waiting_, {}), hung);
  answer(std::exchange(waiting_for_commit_, {}), hung);
}

void Ledger::answer(Waiting waiting, const Result<void>& done) {
  for (auto& one : waiting) one->fulfill(Result<void>(done));
}

kj::Promise<void> Ledger::flush_loop() {
  return timer_.afterDelay(to_kj(kFlush)).then([this] {
    if (writing_ != nullptr) {
      // Counted, not timed: this process may have been stopped.
      if (++looks_ == kMostLooks) note_hung();
    } else if (!failure_ || clock_() >= retry_) {
      write();
    }
    return flush_loop();
  });
}

// ---- reading ----

kj::Promise<Result<wire::LedgerPage>> Ledger::read(wire::LedgerFilter filter) {
  if (reading_thread_->is_full()) {
    return Result<wire::LedgerPage>(
        fail(ErrorKind::kOverloaded, "the ledger is being read by too many; try again"));
  }
  return keep().then([this, filter = std::move(filter)](Result<void>&&) mutable {
    return reading_thread_->run<Result<wire::LedgerPage>>(
        [path = path_, filter = std::move(filter)] { return read_ledger(path, filter); });
  });
}

kj::Promise<Result<wire::LedgerCheck>> Ledger::verify() {
  if (reading_thread_->is_full()) {
    return Result<wire::LedgerCheck>(
        fail(ErrorKind::kOverloaded, "the ledger is being read by too many; try again"));
  }
  return keep().then([this](Result<void>&&) {
    return reading_thread_->run<Result<wire::LedgerCheck>>(
        [path = path_] { return check_ledger(path); });
  });
}

}  // namespace sublet::manager
