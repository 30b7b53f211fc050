#include "leased_worker.hpp"

#include "companion.hpp"

namespace sublet::bench {
namespace {

Result<CpuPair> place(const WorkerInfo& worker, const CommonOptions& options) {
  auto core = first_cpu(worker.cpuset);
  if (!core) return tl::unexpected<Error>(std::move(core.error()));
  if (*core == options.cpus.worker) return options.cpus;
  if (options.cpus_given) {
    return fail(ErrorKind::kInvalid,
                "--cpus wants the worker on core " + std::to_string(options.cpus.worker) +
                    " and the resource manager gave core " + std::to_string(*core) +
                    "; leave --cpus out, or offer only that core (sublet executor-manager "
                    "--cpuset)");
  }
  if (*core != options.cpus.client) return CpuPair{options.cpus.client, *core};
  auto allowed = allowed_cpus();
  if (!allowed) return tl::unexpected<Error>(std::move(allowed.error()));
  return choose_client_for(*core, *allowed);
}

}  // namespace

Result<Session> open_session(const CommonOptions& options) {
  auto session_options = SessionOptions::load();
  if (!session_options) return tl::unexpected<Error>(std::move(session_options.error()));
  if (!options.manager.empty()) session_options->manager = options.manager;
  session_options->transport = to_string(options.transport);
  session_options->private_cpuset = std::to_string(options.cpus.worker);
  return Session::open(*session_options);
}

Result<std::string> bench_library() {
  return find_companion("libsublet_bench_functions.so");
}

Result<LeasedWorker> lease_worker(Session& session, const CommonOptions& options,
                                  const WorkerRequest& request) {
  auto library = bench_library();
  if (!library) return tl::unexpected<Error>(std::move(library.error()));
  auto lease =
      session.lease({.cores = 1, .hot_timeout = request.hot_timeout, .slots = request.slots});
  if (!lease) return tl::unexpected<Error>(std::move(lease.error()));
  const WorkerInfo worker = lease->worker(0);
  auto cpus = place(worker, options);
  if (!cpus) return tl::unexpected<Error>(std::move(cpus.error()));
  auto echo = lease->function(*library, "echo");
  if (!echo) return tl::unexpected<Error>(std::move(echo.error()));
  return LeasedWorker{std::move(*lease), std::move(*echo), *cpus};
}

}  // namespace sublet::bench
