#include "isolation.hpp"

#include "exchange.hpp"
#include "fork_exec.hpp"
#include "leased_worker.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

namespace sublet::bench {
namespace {

constexpr std::array kStarts{Start::kBare, Start::kWarm};

/// One isolation with one kind of start: its managers, and what has been measured.
struct Variant {
  Start start;
  std::unique_ptr<Session> session;
  std::vector<double> samples;
  std::vector<BatchPair> pairs;  ///< Beside the same start of the first isolation.
};

struct Subject {
  std::string isolation;
  std::vector<Variant> variants;  ///< As kStarts.
  std::vector<double> podman;
  std::vector<BatchPair> podman_pairs;
};

void append_all(std::vector<double>& all, const std::vector<double>& batch) {
  all.insert(all.end(), batch.begin(), batch.end());
}

/// What the container of an executor is started with, as far as the time that takes depends on it.
std::vector<std::string> podman_run(const std::string& image) {
  return {"run",
          "--rm",
          "--pull=never",
          "--cgroups=disabled",
          "--network=host",
          "--read-only",
          "--ulimit=nofile=1024:1024",
          "--ulimit=nproc=1024:1024",
          image,
          "true"};
}

Result<std::vector<Subject>> open_subjects(const IsolationOptions& options, CpuPair& cpus) {
  std::vector<std::string> isolations{"process", "sandbox"};
  if (!options.image.empty()) isolations.emplace_back("container");
  std::vector<Subject> subjects;
  for (const std::string& isolation : isolations) {
    Subject subject;
    subject.isolation = isolation;
    for (const Start start : kStarts) {
      auto session = open_session_for(
          {start, isolation, isolation == "container" ? options.image : std::string()}, options);
      if (!session) return tl::unexpected<Error>(std::move(session.error()));
      if (!session->manager_is_private()) {
        return fail(ErrorKind::kInvalid,
                    "a manager runs here already, and has one isolation: end it, or unset "
                    "SUBLET_MANAGER");
      }
      // Once before anything is timed: the worker says where it is, and the node has the library.
      auto worker = lease_worker(*session, options, {});
      if (!worker) return tl::unexpected<Error>(std::move(worker.error()));
      cpus = worker->cpus;
      worker->lease.release();
      subject.variants.push_back({start, std::make_unique<Session>(std::move(*session)), {}, {}});
    }
    subjects.push_back(std::move(subject));
  }
  return subjects;
}

/// One batch of each, so that what the machine does meanwhile meets all of them alike.
Result<void> measure_round(std::vector<Subject>& subjects, const std::string& library,
                           PrivatePayload& payload, std::uint64_t count,
                           std::optional<ForkExecTimer>& podman) {
  std::array<double, kStarts.size()> without{};
  for (Subject& subject : subjects) {
    double bare = 0;
    for (std::size_t i = 0; i < kStarts.size(); ++i) {
      Variant& variant = subject.variants[i];
      auto batch = start_batch(*variant.session, variant.start, library, payload, count);
      if (!batch) {
        return fail(batch.error().kind(),
                    "isolation " + subject.isolation + ": " + batch.error().what());
      }
      const double typical = percentile(*batch, 0.5);
      if (&subject == &subjects.front()) without[i] = typical;
      BatchPair pair;
      pair.ours = typical;
      pair.baseline = without[i];
      variant.pairs.push_back(pair);
      append_all(variant.samples, *batch);
      if (variant.start == Start::kBare) bare = typical;
    }
    if (subject.isolation != "container") continue;
    std::vector<double> baseline;
    for (std::uint64_t i = 0; i < count; ++i) {
      auto one = podman->run(1);  // one by one: a batch has a deadline
      if (!one) return tl::unexpected<Error>(std::move(one.error()));
      append_all(baseline, *one);
    }
    BatchPair pair;
    pair.ours = bare;
    pair.baseline = percentile(baseline, 0.5);
    subject.podman_pairs.push_back(pair);
    append_all(subject.podman, baseline);
  }
  return {};
}

}  // namespace

Result<IsolationReport> measure_isolation(const IsolationOptions& options, Progress& progress) {
  auto library = bench_library();
  if (!library) return tl::unexpected<Error>(std::move(library.error()));
  std::optional<ForkExecTimer> podman;
  if (!options.image.empty()) {
    auto timer = ForkExecTimer::start("/usr/bin/podman", podman_run(options.image));
    if (!timer) return tl::unexpected<Error>(std::move(timer.error()));
    podman.emplace(std::move(*timer));
  }
  IsolationReport report;
  report.transport = options.transport;
  report.image = options.image;
  auto subjects = open_subjects(options, report.cpus);
  if (!subjects) return tl::unexpected<Error>(std::move(subjects.error()));
  // As in `bench cold`.
  auto pinned = PinnedThread::on(report.cpus.client);
  if (!pinned) return tl::unexpected<Error>(std::move(pinned.error()));
  PrivatePayload payload(8);
  for (Subject& subject : *subjects) {
    for (Variant& variant : subject.variants) {
      auto warm = start_batch(*variant.session, variant.start, *library, payload, options.warmup);
      if (!warm) return tl::unexpected<Error>(std::move(warm.error()));
    }
  }
  std::uint64_t starts = 0;
  while (starts < options.iterations) {
    const auto count = std::min<std::uint64_t>(kStartsPerBatch, options.iterations - starts);
    if (auto done = measure_round(*subjects, *library, payload, count, podman); !done) {
      return tl::unexpected<Error>(std::move(done.error()));
    }
    starts += count;
    progress.show("isolation", starts, options.iterations);
  }
  for (Subject& subject : *subjects) {
    IsolationRow row;
    row.isolation = subject.isolation;
    row.bare_us = to_us(spread_of(std::move(subject.variants[0].samples)));
    row.warm_us = to_us(spread_of(std::move(subject.variants[1].samples)));
    row.bare = summarise(subject.variants[0].pairs);
    row.warm = summarise(subject.variants[1].pairs);
    row.podman_us = to_us(spread_of(std::move(subject.podman)));
    row.podman = summarise(subject.podman_pairs);
    row.starts = starts;
    report.rows.push_back(std::move(row));
  }
  return report;
}

}  // namespace sublet::bench
