#include <base/log.hpp>
#include <client/lease_impl.hpp>
#include <client/worker_link_datapath.hpp>
#include <wire/limits.hpp>

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace sublet::client {
namespace {

/// A function library's content, read at once.
Result<std::vector<std::byte>> read_library(const std::string& path) {
  const auto failed = [&](const char* what) {
    return fail(ErrorKind::kInvalid,
                std::string(what) + " function library '" + path + "': " + std::strerror(errno),
                errno);
  };
  base::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return failed("opening");
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return failed("looking at");
  if (!S_ISREG(info.st_mode)) {
    return fail(ErrorKind::kInvalid, "function library '" + path + "' is not a regular file");
  }
  if (static_cast<std::size_t>(info.st_size) > wire::kMaxLibraryBytes) {
    return fail(ErrorKind::kInvalid, "function library '" + path + "' has " +
                                         std::to_string(info.st_size) + " bytes; at most " +
                                         std::to_string(wire::kMaxLibraryBytes) + " are allowed");
  }
  std::vector<std::byte> content(static_cast<std::size_t>(info.st_size));
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t n = ::read(fd.get(), content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed("reading");
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  content.resize(done);
  return content;
}

std::array<std::uint8_t, 32> sha256_of(std::span<const std::byte> content) {
  std::array<std::uint8_t, 32> hash{};
  crypto_hash_sha256(hash.data(), reinterpret_cast<const unsigned char*>(content.data()),
                     content.size());
  return hash;
}

std::string file_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

Result<std::shared_ptr<LeaseImpl>> LeaseImpl::create(std::shared_ptr<ControlPlane> control,
                                                     std::vector<std::unique_ptr<NodeLink>> nodes,
                                                     std::shared_ptr<LeaseEvents> events,
                                                     std::shared_ptr<TraceBuffer> trace) {
  std::shared_ptr<LeaseImpl> lease(
      new LeaseImpl(std::move(control), std::move(nodes), std::move(events), std::move(trace)));
  const Grant& grant = lease->nodes_.front()->grant();
  auto arena = transport::Arena::create(grant.arena_bytes);
  if (!arena) return tl::unexpected<Error>(arena.error());
  lease->arena_ = std::move(*arena);
  lease->id_ = grant.lease_id;
  lease->expires_unix_ms_ = grant.expires_unix_ms;
  if (auto connected = lease->connect_all(); !connected) {
    return tl::unexpected<Error>(connected.error());
  }
  return lease;
}

LeaseImpl::LeaseImpl(std::shared_ptr<ControlPlane> control,
                     std::vector<std::unique_ptr<NodeLink>> nodes,
                     std::shared_ptr<LeaseEvents> events, std::shared_ptr<TraceBuffer> trace)
    : control_(std::move(control)),
      events_(std::move(events)),
      trace_(std::move(trace)),
      nodes_(std::move(nodes)) {}

LeaseImpl::~LeaseImpl() {
  release();
}

Result<void> LeaseImpl::connect_all() {
  std::vector<transport::Target> targets;
  for (const auto& node : nodes_) {
    for (std::uint32_t i = 0; i < node->cpusets().size(); ++i) {
      const auto index = static_cast<std::uint32_t>(workers_.size());
      auto link =
          std::make_unique<WorkerLink>(*node, index, i, arena_, trace_.get(), continuations_);
      link->on_executor_gone = [this](WorkerLink& gone, const std::string& reason) {
        executor_gone(gone, reason);
      };
      auto target = link->target(control_->timeouts());
      if (!target) return tl::unexpected<Error>(target.error());
      targets.push_back(std::move(*target));
      if (trace_) {
        trace_->workers.push_back("worker " + std::to_string(index) + " on " +
                                  node->grant().node_name + " cpu " + node->cpusets()[i]);
      }
      workers_.push_back(std::move(link));
    }
  }
  auto channels = transport::connect(targets, arena_);
  for (std::size_t i = 0; i < channels.size(); ++i) {
    if (!channels[i]) return not_connected(*workers_[i], targets[i], channels[i].error());
    workers_[i]->take(std::move(*channels[i]), targets[i]);
  }
  // Room for every slot, so that async allocates only for handles beyond that.
  std::size_t slots = 0;
  for (const auto& node : nodes_) slots += node->cpusets().size() * node->grant().slots;
  for (std::size_t i = 0; i < slots; ++i) pool_.push_back(&pool_storage_.emplace_back());
  continuations_.reserve(slots);
  if (trace_) trace_->lease_id = id_;
  return {};
}

tl::unexpected<Error> LeaseImpl::not_connected(WorkerLink& link, const transport::Target& target,
                                               const Error& error) {
  NodeLink& node = link.node();
  std::string why = error.what();
  // An executor that ended while we connected has left word of how.
  if (error.kind() == ErrorKind::kDisconnected) {
    why += " (" + node.fate(node.endpoint().generation) + ")";
  }
  return fail(error.kind(), "connecting to worker " + std::to_string(target.options.worker) +
                                " on node " + node.grant().node_name + " by " +
                                to_string(target.kind) + ": " + why);
}

Result<std::uint16_t> LeaseImpl::open(const std::string& path, const std::string& name,
                                      FunctionOptions options) {
  if (released_) return fail(ErrorKind::kInvalid, "the lease was released");
  if (functions_.size() >= wire::kMaxFunctions) {
    return fail(ErrorKind::kOverloaded, "the lease has " + std::to_string(functions_.size()) +
                                            " functions open, the most there can be");
  }
  if (name.empty() || name.size() > wire::kMaxFunctionName) {
    return fail(ErrorKind::kInvalid, "a function's name has 1 to 255 bytes; '" + name + "' has " +
                                         std::to_string(name.size()));
  }
  if (options.timeout.count() < 0) {
    return fail(ErrorKind::kInvalid, "the timeout of function '" + name + "' is negative");
  }
  auto content = read_library(path);
  if (!content) return tl::unexpected<Error>(content.error());
  OpenFunction function;
  function.path = path;
  function.request.index = static_cast<std::uint16_t>(functions_.size());
  function.request.name = name;
  function.request.library = file_name(path);
  function.request.sha256 = sha256_of(*content);
  function.request.timeout = options.timeout;
  for (const auto& node : nodes_) {
    if (node->state().lost()) continue;
    if (auto opened = open_on(*node, function.request, *content); !opened) {
      return tl::unexpected<Error>(opened.error());
    }
  }
  functions_.push_back(std::move(function));
  if (trace_) trace_->functions.push_back(name);
  return functions_.back().request.index;
}

Result<void> LeaseImpl::open_on(NodeLink& node, const FunctionRequest& function,
                                std::span<const std::byte> content) {
  auto opened = node.open(function);
  if (opened && !*opened) {
    if (auto installed = node.install(content, function.sha256); !installed) return installed;
    opened = node.open(function);
    if (opened && !*opened) {
      return fail(ErrorKind::kInternal, "node " + node.grant().node_name + " forgot library '" +
                                            function.library +
                                            "' at once; is its cache too small?");
    }
  }
  if (!opened) return tl::unexpected<Error>(opened.error());
  return {};
}

void LeaseImpl::executor_gone(WorkerLink& link, const std::string& reason) noexcept {
  NodeLink& node = link.node();
  down_reason_ = reason;
  for (const auto& other : workers_) {
    if (&other->node() == &node && other->generation() == link.generation()) {
      other->take_down(Status::kLost, reason);
    }
  }
}

bool LeaseImpl::recover(WorkerLink& link) noexcept {
  if (released_) {
    down_reason_ = "the lease was released";
    return false;
  }
  NodeLink& node = link.node();
  auto replaced = node.await_replacement(link.generation());
  if (!replaced) {
    down_reason_ = replaced.error().what();
    return false;
  }
  auto connected = link.connect(control_->timeouts());
  if (!connected) down_reason_ = connected.error().what();
  return connected.has_value();
}

bool LeaseImpl::recover() noexcept {
  bool any = false;
  for (const auto& link : workers_) {
    if (link->up() || recover(*link)) any = true;
  }
  return any;
}

void LeaseImpl::fail_call(PendingCall& call, Status status, const std::string& text) noexcept {
  call.in_flight = false;
  call.reply = Reply{};
  call.reply.status = status;
  call.error = text;
}

void LeaseImpl::note_failure(PendingCall& call) noexcept {
  const std::string& name = functions_[call.function].request.name;
  // Once: the text that the caller reads names the function whoever wrote it.
  if (call.error.find("'" + name + "'") == std::string::npos) {
    std::string text = "call of '" + name + "': " + to_string(call.reply.status);
    if (call.reply.status == Status::kOutputTooLarge) {
      text += ": the result has " + std::to_string(call.reply.size) + " bytes, the output holds " +
              std::to_string(call.out_capacity);
    }
    call.error = call.error.empty() ? text : text + ": " + call.error;
  }
  last_error_ = call.error;
}

void LeaseImpl::run_continuations() noexcept {
  // A continuation may start calls and end others: take the list first.
  std::vector<PendingCall*> ended;
  ended.swap(continuations_);
  for (PendingCall* call : ended) {
    if (call->in_flight) continue;  // started again since
    if (call->reply.status != Status::kOk) {
      if (retry(*call)) {
        if (!call->in_flight) continuations_.push_back(call);
        continue;
      }
      note_failure(*call);
    }
    const auto then = std::move(call->then);
    const Reply reply = call->reply;
    recycle(call);
    --handed_over_;
    then(reply);
  }
}

void LeaseImpl::hand_over(PendingCall* call, std::function<void(const Reply&)> then) {
  call->then = std::move(then);
  ++handed_over_;
  if (!call->in_flight) continuations_.push_back(call);
}

bool LeaseImpl::wait_all(base::Deadline deadline) noexcept {
  for (;;) {
    progress();
    WorkerLink* busy = nullptr;
    for (const auto& link : workers_) {
      if (link->in_flight() > 0) busy = link.get();
    }
    if (busy == nullptr && handed_over_ == 0) return true;
    if (deadline.passed()) return false;
    if (busy == nullptr) continue;  // a continuation is ready to run
    busy->wait_any(deadline);
  }
}

Result<BatchReport> LeaseImpl::batch(std::uint16_t function, bool idempotent,
                                     std::span<BatchItem> items, std::chrono::nanoseconds limit) {
  const auto deadline = base::Deadline::after(limit);
  std::vector<PendingCall*> calls(items.size(), nullptr);
  bool late = false;
  for (std::size_t i = 0; i < items.size() && !late; ++i) {
    BatchItem& item = items[i];
    calls[i] = async(function, idempotent, item.in, item.in_size, item.out, item.out_capacity);
    late = deadline.passed();
  }
  BatchReport report;
  for (std::size_t i = 0; i < items.size(); ++i) {
    PendingCall* call = calls[i];
    if (call == nullptr) {
      items[i].reply = Reply{};
      items[i].reply.status = Status::kDeadline;
      ++report.failed;
      continue;
    }
    if (!wait(*call, deadline)) {
      late = true;
      // Its memory is in use until it ends, which its function's timeout or the lease bounds.
      (void)wait(*call, base::Deadline::none());
    }
    items[i].reply = call->reply;
    if (call->reply.ok()) {
      ++report.ok;
    } else {
      ++report.failed;
      if (report.first_error.empty()) report.first_error = call->error;
    }
    recycle(call);
  }
  if (late) {
    return fail(ErrorKind::kDisconnected, "a batch of " + std::to_string(items.size()) +
                                              " calls of '" + function_name(function) +
                                              "' did not end within its limit; " +
                                              std::to_string(report.ok) + " ended well");
  }
  return report;
}

WorkerInfo LeaseImpl::worker_info(std::size_t index) const {
  if (index >= workers_.size()) return {};
  const NodeLink& node = workers_[index]->node();
  std::size_t first = index;
  while (first > 0 && &workers_[first - 1]->node() == &node) --first;
  return {node.grant().node_name, node.cpusets()[index - first],
          to_string(workers_[index]->kind())};
}

Result<void> LeaseImpl::extend(std::chrono::seconds duration) {
  if (released_) return fail(ErrorKind::kInvalid, "the lease was released");
  auto expires = control_->extend(nodes_.front()->grant(), duration);
  if (!expires) return tl::unexpected<Error>(expires.error());
  expires_unix_ms_ = *expires;
  return {};
}

Result<Usage> LeaseImpl::usage() {
  Usage sum;
  for (const auto& node : nodes_) {
    auto usage = node->usage();
    if (!usage) return tl::unexpected<Error>(usage.error());
    sum.invocations += usage->invocations;
    sum.compute_ns += usage->compute_ns;
    sum.hot_poll_ns += usage->hot_poll_ns;
    sum.bytes_in += usage->bytes_in;
    sum.bytes_out += usage->bytes_out;
    sum.core_seconds += usage->core_seconds;
  }
  return sum;
}

void LeaseImpl::release() noexcept {
  if (released_) return;
  released_ = true;
  down_reason_ = "the lease was released";
  for (const auto& link : workers_) link->take_down(Status::kClosed, down_reason_);
  for (const auto& node : nodes_) node->release();
  control_->note_release();
}

}  // namespace sublet::client
