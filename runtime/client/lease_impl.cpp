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
#include <limits>
#include <set>
#include <system_error>
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

/// A lease whose workers are not all settled is looked after so often, when it is used.
constexpr auto kAttendAgain = std::chrono::microseconds(500);

/// Between two attempts to replace workers.
constexpr auto kReplaceMin = std::chrono::milliseconds(50);
constexpr auto kReplaceMax = std::chrono::seconds(1);
/// A call that finds no worker at all waits for the answer so long.
constexpr auto kReplaceWait = std::chrono::milliseconds(500);

void add(Usage& to, const Usage& more) {
  to.invocations += more.invocations;
  to.compute_ns += more.compute_ns;
  to.hot_poll_ns += more.hot_poll_ns;
  to.bytes_in += more.bytes_in;
  to.bytes_out += more.bytes_out;
  to.core_seconds += more.core_seconds;
}

std::string file_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

Result<std::shared_ptr<LeaseImpl>> LeaseImpl::create(std::shared_ptr<ControlPlane> control,
                                                     std::vector<std::unique_ptr<NodeLink>> nodes,
                                                     std::shared_ptr<LeaseEvents> events,
                                                     const LeaseRequest& request,
                                                     std::shared_ptr<TraceBuffer> trace) {
  std::shared_ptr<LeaseImpl> lease(new LeaseImpl(std::move(control), std::move(nodes),
                                                 std::move(events), request, std::move(trace)));
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
                     std::shared_ptr<LeaseEvents> events, const LeaseRequest& request,
                     std::shared_ptr<TraceBuffer> trace)
    : control_(std::move(control)),
      events_(std::move(events)),
      trace_(std::move(trace)),
      nodes_(std::move(nodes)),
      request_(request) {
  request_.parts = 1;
  request_.slots = nodes_.front()->grant().slots;
  request_.arena_bytes = nodes_.front()->grant().arena_bytes;
}

LeaseImpl::~LeaseImpl() {
  release();
}

Result<void> LeaseImpl::connect_all() {
  std::vector<transport::Target> targets;
  for (const auto& node : nodes_) {
    for (std::uint32_t i = 0; i < node->cpusets().size(); ++i) {
      auto link = make_link(*node, static_cast<std::uint32_t>(workers_.size()), i);
      auto target = link->target(control_->timeouts());
      if (!target) return tl::unexpected<Error>(target.error());
      targets.push_back(std::move(*target));
      if (trace_) {
        trace_->workers.push_back("worker " + std::to_string(workers_.size()) + " on " +
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

std::unique_ptr<WorkerLink> LeaseImpl::make_link(NodeLink& node, std::uint32_t index,
                                                 std::uint32_t worker_on_node) {
  auto link = std::make_unique<WorkerLink>(node, index, worker_on_node, arena_, trace_.get(),
                                           continuations_);
  link->on_executor_gone = [this](WorkerLink& gone, const std::string& reason) {
    executor_gone(gone, reason);
  };
  return link;
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
  function.request.index = static_cast<std::uint16_t>(functions_.size());
  function.request.name = name;
  function.request.library = file_name(path);
  function.request.sha256 = sha256_of(*content);
  function.request.timeout = options.timeout;
  for (const OpenFunction& other : functions_) {
    if (other.request.sha256 == function.request.sha256) function.content = other.content;
  }
  if (!function.content) {
    function.content = std::make_shared<const std::vector<std::byte>>(std::move(*content));
  }
  if (events_->attention()) attend();
  for (const auto& node : nodes_) {
    if (node->state().lost()) continue;
    auto opened = open_on(*node, function.request, *function.content);
    // One that left meanwhile needs it no more.
    if (!opened && !node->state().lost() && !node->state().leaving()) {
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
  if (node.state().leaving()) {
    down_reason_ = "node " + node.grant().node_name + " is being given back";
    return false;
  }
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

void LeaseImpl::attend(bool may_wait) noexcept {
  if (!may_wait && base::ticks() < attend_at_) return;
  events_->take_attention();
  if (released_) return;
  const bool retired = retire_leaving();
  if (!replace_gone(may_wait) || !retired) {
    attend_at_ = base::ticks() + base::TickRate::get().from(kAttendAgain);
    events_->call_attention();
  }
}

bool LeaseImpl::retire_leaving() {
  bool all = true;
  for (const auto& link : workers_) {
    NodeState& state = link->node().state();
    if (!state.departed()) continue;
    link->retire();
    link->progress();
    if (link->in_flight() == 0) {
      link->take_down(Status::kClosed, "its node has left");
    } else {
      // Of a lost node the channel finds out by itself, and ends what is under way as lost.
      all = false;
    }
  }
  for (const auto& node : nodes_) {
    if (!node->state().leaving() || node->state().lost()) continue;
    const bool idle = std::all_of(workers_.begin(), workers_.end(), [&](const auto& link) {
      return &link->node() != node.get() || link->gone();
    });
    if (!idle) continue;
    if (const auto used = node->usage()) add(past_, *used);
    base::log().info("lease {}: giving node {} back", id_, node->grant().node_name);
    node->release();
  }
  return all;
}

bool LeaseImpl::replace_gone(bool may_wait) {
  std::vector<std::size_t> gone;
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i]->gone()) gone.push_back(i);
  }
  if (gone.empty() || !request_.replace) return true;
  if (!asked_.valid()) {
    if (base::ticks() < replace_at_) return false;
    try {
      asked_ = std::async(std::launch::async, &LeaseImpl::ask_for, control_, events_, request_,
                          static_cast<std::uint32_t>(gone.size()));
    } catch (const std::system_error& error) {
      not_replaced(gone.size(), error.what());  // no thread to be had now
      return false;
    }
  }
  if (asked_.wait_for(may_wait ? kReplaceWait : std::chrono::milliseconds(0)) !=
      std::future_status::ready) {
    return false;
  }
  auto nodes = asked_.get();
  std::string why;
  if (nodes) {
    std::size_t cores = 0;
    for (const auto& node : *nodes) cores += node->cpusets().size();
    const auto places = std::span(gone).first(std::min(cores, gone.size()));
    auto adopted = adopt(std::move(*nodes), places);
    if (adopted) {
      replace_pause_ = 0;
      return places.size() == gone.size();
    }
    why = adopted.error().what();
  } else {
    why = nodes.error().what();
  }
  not_replaced(gone.size(), why);
  return false;
}

void LeaseImpl::not_replaced(std::size_t workers, const std::string& why) {
  // Said once for each spell of want.
  if (replace_pause_ == 0) {
    base::log().info("lease {}: no workers yet in place of {}: {}", id_, workers, why);
  }
  const base::TickRate& rate = base::TickRate::get();
  replace_pause_ = std::clamp(2 * replace_pause_, rate.from(kReplaceMin), rate.from(kReplaceMax));
  replace_at_ = base::ticks() + replace_pause_;
}

Result<std::vector<std::unique_ptr<NodeLink>>> LeaseImpl::ask_for(
    std::shared_ptr<ControlPlane> control, std::shared_ptr<LeaseEvents> events,
    LeaseRequest request, std::uint32_t most) {
  for (request.cores = most;; request.cores /= 2) {
    auto nodes = control->lease(request, events);
    const bool too_many = !nodes && nodes.error().kind() == ErrorKind::kOverloaded;
    if (!too_many || request.cores == 1) return nodes;
  }
}

Result<void> LeaseImpl::adopt(std::vector<std::unique_ptr<NodeLink>> nodes,
                              std::span<const std::size_t> at) {
  std::vector<std::unique_ptr<WorkerLink>> links;
  std::vector<transport::Target> targets;
  for (const auto& node : nodes) {
    for (const OpenFunction& function : functions_) {
      if (auto opened = open_on(*node, function.request, *function.content); !opened) {
        return opened;
      }
    }
    for (std::uint32_t i = 0; i < node->cpusets().size() && links.size() < at.size(); ++i) {
      links.push_back(make_link(*node, static_cast<std::uint32_t>(at[links.size()]), i));
      auto target = links.back()->target(control_->timeouts());
      if (!target) return tl::unexpected<Error>(target.error());
      targets.push_back(std::move(*target));
    }
  }
  auto channels = transport::connect(targets, arena_);
  for (std::size_t i = 0; i < channels.size(); ++i) {
    if (!channels[i]) return not_connected(*links[i], targets[i], channels[i].error());
    links[i]->take(std::move(*channels[i]), targets[i]);
  }
  for (std::size_t i = 0; i < links.size(); ++i) {
    const NodeLink& node = links[i]->node();
    if (trace_) {
      trace_->workers[at[i]] += ", later on " + node.grant().node_name + " cpu " +
                                node.cpusets()[links[i]->worker_on_node()];
    }
    base::log().info("lease {}: worker {} is on node {} now", id_, at[i], node.grant().node_name);
    workers_[at[i]] = std::move(links[i]);
  }
  for (auto& node : nodes) nodes_.push_back(std::move(node));
  forget_nodes();
  return {};
}

/// Those that have no worker here any more.
void LeaseImpl::forget_nodes() {
  std::erase_if(nodes_, [&](const auto& node) {
    return std::none_of(workers_.begin(), workers_.end(),
                        [&](const auto& link) { return &link->node() == node.get(); });
  });
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
  const WorkerLink& link = *workers_[index];
  const NodeLink& node = link.node();
  return {node.grant().node_name, node.cpusets()[link.worker_on_node()], to_string(link.kind())};
}

Result<void> LeaseImpl::extend(std::chrono::seconds duration) {
  if (released_) return fail(ErrorKind::kInvalid, "the lease was released");
  if (events_->attention()) attend();
  // Workers that came later are of leases of their own.
  std::set<std::uint64_t> extended;
  std::int64_t earliest = std::numeric_limits<std::int64_t>::max();
  for (const auto& node : nodes_) {
    if (node->state().lost() || node->state().leaving()) continue;
    if (!extended.insert(node->grant().lease_id).second) continue;
    auto expires = control_->extend(node->grant(), duration);
    if (!expires) return tl::unexpected<Error>(expires.error());
    earliest = std::min(earliest, *expires);
  }
  if (extended.empty()) {
    return fail(ErrorKind::kDisconnected, "all nodes of the lease have left or are lost");
  }
  request_.duration = std::max(request_.duration, duration);
  expires_unix_ms_ = earliest;
  return {};
}

Result<Usage> LeaseImpl::usage() {
  if (events_->attention()) attend();
  Usage sum = past_;
  for (const auto& node : nodes_) {
    if (node->state().lost()) continue;
    auto usage = node->usage();
    if (!usage && node->state().lost()) continue;
    if (!usage) return tl::unexpected<Error>(usage.error());
    add(sum, *usage);
  }
  return sum;
}

void LeaseImpl::release() noexcept {
  if (released_) return;
  released_ = true;
  down_reason_ = "the lease was released";
  for (const auto& link : workers_) link->take_down(Status::kClosed, down_reason_);
  for (const auto& node : nodes_) node->release();
  // Workers that were asked for in place of others may be granted just now: given back too, which
  // is why the answer is waited for, at most for the session's timeout.
  if (asked_.valid()) (void)asked_.get();
  control_->note_release();
}

}  // namespace sublet::client
