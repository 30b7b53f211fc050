#include "manager_process.hpp"

#include <common/async.hpp>
#include <resource_manager/resource_manager_server.hpp>

#include <ledger/ledger_check.hpp>
#include <ledger/ledger_reader.hpp>
#include <unistd.h>

#include <deque>
#include <functional>
#include <utility>

namespace sublet::sim {

/// What a ledger's jobs wait for.
class SimulatedDisk {
 public:
  SimulatedDisk(World& world, Process& process) : world_(world), process_(process) {}
  [[nodiscard]] bool dead() const noexcept { return !process_.alive(); }
  kj::Promise<void> wait() {
    using namespace std::chrono_literals;
    const auto time = world_.dice.one_in(100) ? world_.dice.between(10ms, 800ms)
                                              : world_.dice.between(200us, 6ms);
    return process_.timer().afterDelay(manager::to_kj(time));
  }

 private:
  World& world_;
  Process& process_;
};

namespace {

/// So short that what is free is kept for those who have waited.
constexpr milliseconds kAging{5000};

/// A ledger's jobs, each after a while, on the loop; none once the process was killed.
class DiskJobs final : public manager::LedgerJobs {
 public:
  explicit DiskJobs(std::shared_ptr<SimulatedDisk> disk) : disk_(std::move(disk)) {}
  ~DiskJobs() noexcept(false) override {
    running_ = nullptr;
    while (!jobs_.empty()) run_one();
  }

  [[nodiscard]] bool is_full() override { return false; }

 private:
  void add(std::function<void()> job) override {
    jobs_.push_back(std::move(job));
    if (jobs_.size() == 1) running_ = next();
  }
  kj::Promise<void> next() {
    return disk_->wait()
        .then([this]() -> kj::Promise<void> {
          run_one();
          if (jobs_.empty()) return kj::READY_NOW;
          return next();
        })
        .eagerlyEvaluate(nullptr);
  }
  void run_one() {
    if (!disk_->dead()) jobs_.front()();
    jobs_.pop_front();
  }

  std::shared_ptr<SimulatedDisk> disk_;
  std::deque<std::function<void()>> jobs_;
  kj::Promise<void> running_ = nullptr;
};

}  // namespace

ManagerProcess::ManagerProcess(World& world, std::string directory)
    : world_(world), directory_(std::move(directory)) {}

ManagerProcess::~ManagerProcess() noexcept(false) {
  end(true);
}

void ManagerProcess::start() {
  if (service_.get() != nullptr) return;
  world_.note("the resource manager starts");
  process_ = &world_.new_process("manager", "manager", ::getuid());
  Process& process = *process_;
  disk_ = std::make_shared<SimulatedDisk>(world_, process);
  const auto clock = [&process] { return process.clock(); };
  ledger_ = manager::Ledger::open(directory_, {}, process.timer(), clock, [disk = disk_] {
              return std::make_unique<DiskJobs>(disk);
            }).value_or_throw();
  manager::Operators operators;
  operators.manager_uid = ::getuid();
  manager::LeaseDesk::Limits limits;
  limits.everybody.cores = kQuotaCores;
  limits.queue.aging = kAging;
  service_ = kj::refcounted<manager::ResourceManagerService>(process.timer(), operators, clock,
                                                             ledger_.get(), limits);
  server_ = std::make_unique<Server>(
      world_, process, "unix:@manager",
      [this](std::shared_ptr<manager::Peer> peer) -> capnp::Capability::Client {
        return manager::make_resource_manager(kj::addRef(*service_), std::move(peer));
      });
}

void ManagerProcess::end(bool killed) {
  if (service_.get() == nullptr) return;
  world_.note(killed ? "the resource manager is killed" : "the resource manager stops");
  server_->shut();
  if (killed) process_->kill();
  // As the command does: the sockets, then the records, which end last.
  server_ = nullptr;
  service_->forget_records();
  service_ = nullptr;
  ledger_ = nullptr;
  process_->kill();
}

std::vector<wire::LedgerRow> ManagerProcess::rows() const {
  std::vector<wire::LedgerRow> rows;
  wire::LedgerFilter filter;
  do {
    const auto page = manager::read_ledger(file(), filter).value_or_throw();
    rows.insert(rows.end(), page.rows.begin(), page.rows.end());
    filter.after = page.next;
  } while (filter.after != 0);
  return rows;
}

wire::LedgerCheck ManagerProcess::check() const {
  return manager::check_ledger(file()).value_or_throw();
}

}  // namespace sublet::sim
