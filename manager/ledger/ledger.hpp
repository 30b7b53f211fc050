#pragma once

// clang-format off
// PROTOCOL  The lease book tells what happens to grants; it is added up per grant (changes.hpp). A
//           writer thread writes what there is in one commit (SQLite, WAL, synchronous = FULL).
//           While it does, more is added up for the next one: under load many leases share a commit,
//           alone a lease has one of its own. The loop never waits.
// STATES    idle     nothing to write, or what there is can wait for kFlush
//           writing  one commit is under way
//           failing  the last commit failed, or hangs: nothing is leased, what was told is kept in memory and
//                    tried again every kRetry and whenever somebody waits for it. A commit that
//                    succeeds ends it
// LIMITS    kMaxUnwritten grants with something to write; beyond, nothing is leased.
// clang-format on

#include <common/manager_clock.hpp>
#include <resource_manager/lease_records.hpp>

#include <kj/async.h>
#include <kj/timer.h>
#include <ledger/changes.hpp>
#include <ledger/ledger_thread.hpp>
#include <ledger/ledger_writer.hpp>
#include <ledger/state_directory.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace sublet::manager {

/// The resource manager's records in an SQLite file, `ledger.db` of a state directory.
///
/// Owner: main; on its loop. Its end writes what is left.
class Ledger final : public LeaseRecords, private kj::TaskSet::ErrorHandler {
 public:
  using Clock = std::function<Time()>;
  /// What commits, and what reads: see LedgerJobs.
  using MakeJobs = std::function<std::unique_ptr<LedgerJobs>()>;
  static std::unique_ptr<LedgerJobs> make_thread() { return std::make_unique<LedgerThread>(); }
  static constexpr std::size_t kMaxUnwritten = 1u << 18;

  /// kInvalid: another manager has it, or the file cannot be used. Nothing is changed then.
  static Result<kj::Own<Ledger>> open(const std::string& directory, const Prices& prices,
                                      kj::Timer& timer, Clock clock,
                                      const MakeJobs& make_jobs = make_thread);
  Ledger(StateDirectory directory, std::unique_ptr<LedgerWriter> writer, kj::Timer& timer,
         Clock clock, const MakeJobs& make_jobs = make_thread);
  ~Ledger() noexcept override;
  KJ_DISALLOW_COPY(Ledger);

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// Leases that are granted later have these. Resolves once that is on disk.
  kj::Promise<Result<void>> set_prices(const Prices& prices);

  // ---- LeaseObserver ----

  void granted(const GrantOnNode& grant) override;
  void claimed(const GrantOnNode& grant) override;
  void used(const GrantOnNode& grant, const Usage& so_far) override;
  void extended(const GrantOnNode& grant) override;
  void ended(const GrantOnNode& grant, const Usage& in_all, const GrantEnding& ending) override;

  // ---- LeaseRecords ----

  std::vector<OpenGrant> take_open() override { return std::move(open_); }
  [[nodiscard]] LeaseId unused_lease() const override { return unused_lease_; }
  void numbered(LeaseId lease) override;
  Quotas take_quotas() override { return std::move(quotas_); }
  void quota_set(std::optional<std::uint32_t> uid, const wire::LeaseQuota* quota) override;
  std::vector<std::pair<std::uint32_t, std::int64_t>> used_since(Time begin) override;
  [[nodiscard]] Result<void> ready() const override;
  kj::Promise<Result<void>> keep() override;
  [[nodiscard]] std::uint64_t told() const override { return told_; }
  [[nodiscard]] std::uint64_t kept() const override { return kept_; }
  kj::Promise<Result<wire::LedgerPage>> read(wire::LedgerFilter filter) override;
  kj::Promise<Result<wire::LedgerCheck>> verify() override;

  /// How often it has committed.
  [[nodiscard]] std::uint64_t commits() const noexcept { return commits_; }

 private:
  using Waiting = std::vector<kj::Own<kj::PromiseFulfiller<Result<void>>>>;

  EntryChange& change(const GrantOnNode& grant);
  void write_soon();
  void write();
  void note_written(Result<void> done);
  void note_hung();
  static void answer(Waiting waiting, const Result<void>& done);
  kj::Promise<void> flush_loop();
  void taskFailed(kj::Exception&& exception) override;

  StateDirectory directory_;
  std::string path_;
  kj::Timer& timer_;
  Clock clock_;
  std::vector<OpenGrant> open_;
  LeaseId unused_lease_{};
  Quotas quotas_;
  Changes unwritten_;
  std::shared_ptr<const Changes> writing_;  ///< Null when no commit is under way.
  Waiting waiting_;                         ///< For what is unwritten.
  Waiting waiting_for_commit_;              ///< For what is being written.
  bool soon_ = false;
  unsigned looks_ = 0;            ///< At the commit that is under way.
  std::optional<Error> failure_;  ///< Of the last commit.
  Time retry_{};
  std::uint64_t told_ = 0;
  std::uint64_t kept_ = 0;
  std::uint64_t commits_ = 0;
  std::shared_ptr<LedgerWriter> writer_;
  std::unique_ptr<LedgerJobs> writing_thread_;
  std::unique_ptr<LedgerJobs> reading_thread_;
  kj::TaskSet tasks_;
};

}  // namespace sublet::manager
