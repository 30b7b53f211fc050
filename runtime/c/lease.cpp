#include <c/error.hpp>
#include <c/handles.hpp>
#include <c/text_fields.hpp>

#include <algorithm>
#include <cstring>
#include <span>

namespace sublet::c {

sublet_lease* make_handle(Lease lease) {
  return new sublet_lease{std::move(lease)};
}

}  // namespace sublet::c

using namespace sublet::c;
using sublet::Result;

int sublet_lease_open(sublet_session* session, int cores, const sublet_options* options,
                      sublet_lease** lease) {
  if (session == nullptr) return null_handle("session");
  if (lease == nullptr) return null_pointer("lease");
  if (cores <= 0) return bad_count("cores", cores);
  return guarded("leasing cores", [&]() -> Result<void> {
    sublet::LeaseRequest request = lease_request(options);
    request.cores = static_cast<std::uint32_t>(cores);
    auto leased = session->session.lease(request);
    if (!leased) return tl::unexpected<sublet::Error>(std::move(leased.error()));
    *lease = make_handle(std::move(*leased));
    return {};
  });
}

int sublet_lease_id(const sublet_lease* lease, uint64_t* id) {
  if (lease == nullptr) return null_handle("lease");
  if (id == nullptr) return null_pointer("id");
  *id = lease->lease.id();
  return SUBLET_SUCCESS;
}

int sublet_lease_workers(const sublet_lease* lease, size_t* workers) {
  if (lease == nullptr) return null_handle("lease");
  if (workers == nullptr) return null_pointer("workers");
  *workers = lease->lease.workers();
  return SUBLET_SUCCESS;
}

int sublet_lease_worker(const sublet_lease* lease, size_t index, sublet_worker_info* worker) {
  if (lease == nullptr) return null_handle("lease");
  if (worker == nullptr) return null_pointer("worker");
  if (index >= lease->lease.workers()) {
    return bad_count("index", static_cast<std::intmax_t>(index));
  }
  return guarded("asking for a worker", [&]() -> Result<void> {
    const sublet::WorkerInfo info = lease->lease.worker(index);
    copy_text(info.node_name, worker->node_name);
    copy_text(info.cpuset, worker->cpuset);
    copy_text(info.transport, worker->transport);
    copy_text(joined(info.gpus), worker->gpus);
    return {};
  });
}

int sublet_lease_expires_at(const sublet_lease* lease, int64_t* unix_ms) {
  if (lease == nullptr) return null_handle("lease");
  if (unix_ms == nullptr) return null_pointer("unix_ms");
  *unix_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                 lease->lease.expires_at().time_since_epoch())
                 .count();
  return SUBLET_SUCCESS;
}

int sublet_lease_extend(sublet_lease* lease, int64_t duration_s) {
  if (lease == nullptr) return null_handle("lease");
  if (duration_s <= 0) return bad_count("duration_s", duration_s);
  return guarded("extending a lease",
                 [&] { return lease->lease.extend(std::chrono::seconds(duration_s)); });
}

int sublet_lease_usage(sublet_lease* lease, sublet_usage* usage) {
  if (lease == nullptr) return null_handle("lease");
  if (usage == nullptr) return null_pointer("usage");
  return guarded("asking for the usage of a lease", [&]() -> Result<void> {
    auto used = lease->lease.usage();
    if (!used) return tl::unexpected<sublet::Error>(std::move(used.error()));
    *usage = to_c(*used);
    return {};
  });
}

int sublet_lease_progress(sublet_lease* lease) {
  if (lease == nullptr) return null_handle("lease");
  lease->lease.progress();
  return SUBLET_SUCCESS;
}

int sublet_lease_wait_all(sublet_lease* lease, int64_t limit_ns) {
  if (lease == nullptr) return null_handle("lease");
  if (limit_ns < -1) return bad_count("limit_ns", limit_ns);
  if (lease->lease.wait_all(limit_from(limit_ns))) return SUBLET_SUCCESS;
  return sublet_set_last_error(SUBLET_ERR_DEADLINE,
                               "calls of the lease are still under way at the end of the limit");
}

int sublet_lease_on_ending(sublet_lease* lease, sublet_ending_callback callback, void* context) {
  if (lease == nullptr) return null_handle("lease");
  return guarded("setting a callback", [&]() -> Result<void> {
    if (callback == nullptr) {
      lease->lease.on_ending({});
      return {};
    }
    lease->lease.on_ending([callback, context](const sublet::EndingNotice& notice) {
      callback(notice.left.count(), notice.reason.c_str(), notice.leaving ? 1 : 0, context);
    });
    return {};
  });
}

int sublet_lease_on_lost(sublet_lease* lease, sublet_lost_callback callback, void* context) {
  if (lease == nullptr) return null_handle("lease");
  return guarded("setting a callback", [&]() -> Result<void> {
    if (callback == nullptr) {
      lease->lease.on_lost({});
      return {};
    }
    lease->lease.on_lost(
        [callback, context](const std::string& reason) { callback(reason.c_str(), context); });
    return {};
  });
}

int sublet_lease_release(sublet_lease* lease) {
  if (lease == nullptr) return null_handle("lease");
  lease->lease.release();
  return SUBLET_SUCCESS;
}

int sublet_lease_free(sublet_lease** lease) {
  return free_handle(lease, "lease");
}

int sublet_buffer_create(sublet_lease* lease, size_t size, void** data, sublet_buffer** buffer) {
  if (lease == nullptr) return null_handle("lease");
  if (data == nullptr) return null_pointer("data");
  if (buffer == nullptr) return null_pointer("buffer");
  if (size > kMostBytes) return bad_size("size", size);
  return guarded("asking for a buffer", [&]() -> Result<void> {
    constexpr std::size_t kLine = sizeof(sublet_buffer_line);
    auto lines = lease->lease.buffer<sublet_buffer_line>(size / kLine + (size % kLine != 0));
    if (!lines) return tl::unexpected<sublet::Error>(std::move(lines.error()));
    auto* const made = new sublet_buffer{std::move(*lines)};
    *buffer = made;
    *data = made->lines.data();
    return {};
  });
}

int sublet_buffer_free(sublet_buffer** buffer) {
  return free_handle(buffer, "buffer");
}
