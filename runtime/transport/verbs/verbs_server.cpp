// The worker's slow paths: large payloads, sleeping, failures, the channel's end.

#include <base/log.hpp>
#include <transport/common/await_fds.hpp>
#include <transport/verbs/verbs_server_datapath.hpp>

#include <sys/eventfd.h>

#include <cerrno>
#include <utility>

namespace sublet::transport::verbs {

static_assert(transport::ServerChannel<ServerChannel>);

namespace {

/// How long replies may take to arrive that are on their way when an executor ends a channel.
constexpr auto kDrain = std::chrono::milliseconds(100);

/// The same for the reply of a call that kills its executor: an acknowledgement takes microseconds.
constexpr auto kDyingReply = std::chrono::milliseconds(10);

/// In wr_id, beside the count of sends: the work was a piece of an RDMA read.
constexpr std::uint64_t kIsRead = 1;

}  // namespace

ServerChannel::ServerChannel(ServerParts parts)
    : queue_(parts.queue.get()),
      pair_(parts.pair.get()),
      memory_(parts.memory.data()),
      slot_payload_(parts.slot_payload),
      stride_(request_stride(parts.slot_payload)),
      outputs_at_(ServerLayout{parts.slots, parts.slot_payload}.outputs()),
      staging_at_(ServerLayout{parts.slots, parts.slot_payload}.staging()),
      replies_(parts.replies_address),
      replies_rkey_(parts.replies_rkey),
      memory_lkey_(parts.local->lkey),
      mask_(parts.slots - 1),
      inline_bytes_(parts.inline_bytes),
      depths_(QueueDepths::of(parts.slots)),
      arena_size_(parts.arena_size),
      dying_ticks_(base::TickRate::get().from(kDyingReply)),
      receives_(depths_.receives_batch),
      done_storage_(depths_.receives + static_cast<std::size_t>(kCompletionsPerPoll)),
      parts_(std::move(parts)) {
  done_ = done_storage_.data();
  for (std::size_t i = 0; i < receives_.size(); ++i) {
    receives_[i] = {};
    receives_[i].next = i + 1 < receives_.size() ? &receives_[i + 1] : nullptr;
  }
  for (std::uint32_t posted = 0; posted < depths_.receives; posted += depths_.receives_batch) {
    refill();
  }
}

ServerChannel::~ServerChannel() {
  if (!broken_ && !parts_.connection->peer_gone.load()) drain();
  parts_.connection->disconnect();
  // From here on the client's device is answered with an error; then the window goes, by which it
  // could write; then the memory.
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_ERR;
  (void)ibv_modify_qp(pair_, &attributes, IBV_QP_STATE);
  parts_.window.reset();
  parts_.pair.reset();
  if (unacknowledged_ > 0) ibv_ack_cq_events(queue_, unacknowledged_);
  parts_.queue.reset();
  parts_.connection->channel_gone.store(true);
}

void ServerChannel::drain() noexcept {
  if (sends_have_ended(sends_)) return;
  ibv_send_wr work{};
  work.opcode = IBV_WR_RDMA_WRITE;
  work.send_flags = IBV_SEND_SIGNALED;
  work.wr.rdma.remote_addr = replies_;
  work.wr.rdma.rkey = replies_rkey_;
  post(work);
  const base::Deadline limit = base::Deadline::after(kDrain);
  while (!broken_ && !sends_have_ended(sends_) && !limit.passed() &&
         !parts_.connection->peer_gone.load()) {
    collect_completions();
    used_ = found_ = 0;  // requests that came too late
  }
}

void ServerChannel::refill() noexcept {
  ibv_recv_wr* bad = nullptr;
  receives_used_ = 0;
  if (ibv_post_recv(pair_, receives_.data(), &bad) != 0) break_off("receives could not be posted");
}

void ServerChannel::break_off(const char* why) noexcept {
  if (broken_) return;
  broken_ = true;
  waiting_ = Waiting::kNothing;
  if (open_.load()) base::log().debug("a verbs channel ends: {}", why);
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_ERR;
  (void)ibv_modify_qp(pair_, &attributes, IBV_QP_STATE);
  parts_.connection->broken.store(true);
  ::eventfd_write(parts_.connection->hub->kick.get(), 1);
}

void ServerChannel::other(const ibv_wc& completion) noexcept {
  if (completion.status != IBV_WC_SUCCESS) {
    if (dying_) {  // in a signal handler: said by the next poll, if there is one
      post_failed_ = true;
    } else {
      break_off(ibv_wc_status_str(completion.status));
    }
    return;
  }
  if (completion.opcode == IBV_WC_RECV_RDMA_WITH_IMM) return;
  if (completion.opcode == IBV_WC_RECV) {
    break_off("a message where only writes are allowed");
    return;
  }
  sends_done_ = static_cast<std::uint32_t>(completion.wr_id >> 32);
  if ((completion.wr_id & kIsRead) != 0 && reads_left_ > 0) --reads_left_;
}

/// Looks at completions of sends while a request has to wait; requests are kept for later.
void ServerChannel::collect_completions() noexcept {
  std::copy(done_ + used_, done_ + found_, done_);
  found_ -= used_;
  used_ = 0;
  const int room = static_cast<int>(done_storage_.size()) - found_;
  const int more = ibv_poll_cq(queue_, std::min(room, kCompletionsPerPoll), done_ + found_);
  int keep = 0;
  // Those that poll() has left too: among them may be the very one that is waited for, and they
  // come before the new ones.
  for (int i = 0; i < found_ + std::max(more, 0); ++i) {
    const ibv_wc completion = done_[i];
    if (completion.status == IBV_WC_SUCCESS && completion.opcode == IBV_WC_RECV_RDMA_WITH_IMM) {
      done_[keep++] = completion;
    } else {
      other(completion);
    }
  }
  found_ = keep;
}

// ---- large payloads ----

bool ServerChannel::take_bulk(Invocation& invocation) noexcept {
  const bool large_output = !invocation.out_is_inline && invocation.out_capacity > kSlotOutput;
  if (invocation.in_size > arena_size_ ||
      (!invocation.out_is_inline && invocation.out_capacity > arena_size_)) {
    refuse(invocation);
    return true;
  }
  if (large_output) {
    // The first, so that lone calls stay in the same memory, unless it is still on its way.
    output_bulk_ = &output_bulks_[sends_have_ended(output_bulks_[0].busy_until) ? 0 : 1];
  }
  waiting_for_ = invocation;
  waiting_ = Waiting::kOutputBuffer;
  return go_on(invocation);
}

bool ServerChannel::start_reading() noexcept {
  if (!input_bulk_.map(input_place_.size, arena_size_) || !enroll(input_bulk_, input_place_.size))
    return false;
  std::uint64_t done = 0;
  while (done < input_place_.size && !broken_) {
    const std::uint64_t size = std::min(input_place_.size - done, kMessageBytes);
    ibv_sge piece{reinterpret_cast<std::uintptr_t>(input_bulk_.memory.data() + done),
                  static_cast<std::uint32_t>(size), input_bulk_.region->lkey};
    ibv_send_wr work{};
    work.sg_list = &piece;
    work.num_sge = 1;
    work.opcode = IBV_WR_RDMA_READ;
    work.send_flags = IBV_SEND_SIGNALED;
    work.wr.rdma.remote_addr = input_place_.address + done;
    work.wr.rdma.rkey = input_place_.rkey;
    ++reads_left_;
    post(work, kIsRead);
    done += size;
  }
  return true;
}

bool ServerChannel::go_on(Invocation& invocation) noexcept {
  collect_completions();
  if (broken_) {
    waiting_ = Waiting::kNothing;
    return false;
  }
  if (waiting_ == Waiting::kOutputBuffer) {
    if (output_bulk_ != nullptr && !waiting_for_.out_is_inline) {
      if (!sends_have_ended(output_bulk_->busy_until)) return false;
      if (!output_bulk_->map(waiting_for_.out_capacity, arena_size_)) {
        refuse(waiting_for_);
      } else {
        waiting_for_.out = output_bulk_->memory.data();
      }
    }
    waiting_ = Waiting::kInput;
    if (waiting_for_.in == nullptr && waiting_for_.verdict == Status::kOk && !start_reading()) {
      refuse(waiting_for_);
    }
  }
  if (reads_left_ > 0) return false;
  if (waiting_for_.in == nullptr && waiting_for_.verdict == Status::kOk) {
    waiting_for_.in = input_bulk_.memory.data();
  }
  waiting_ = Waiting::kNothing;
  invocation = waiting_for_;
  return true;
}

void ServerChannel::reply_large(const Invocation& invocation,
                                const Completion& completion) noexcept {
  const std::uint32_t index = slot_;
  const std::uint64_t size = std::min(completion.size, invocation.out_capacity);
  if (size > 0 && !enroll(*output_bulk_, size)) {
    return reply_with_line(index, Status::kLost, 0, completion.exec_ns,
                           "the executor could not lock memory for the output");
  }
  const bool one_message = size <= kMessageBytes;
  std::uint64_t done = 0;
  do {
    const std::uint64_t length = std::min(size - done, kMessageBytes);
    ibv_sge piece{reinterpret_cast<std::uintptr_t>(output_bulk_->memory.data() + done),
                  static_cast<std::uint32_t>(length),
                  output_bulk_->region ? output_bulk_->region->lkey : 0};
    ibv_send_wr work{};
    work.sg_list = &piece;
    work.num_sge = length == 0 ? 0 : 1;
    work.opcode = one_message ? IBV_WR_RDMA_WRITE_WITH_IMM : IBV_WR_RDMA_WRITE;
    // Signalled: the buffer is free when it ends.
    work.send_flags = IBV_SEND_SIGNALED | (one_message ? unsigned{IBV_SEND_SOLICITED} : 0u);
    work.imm_data = htonl(ReplyWord::encode(index, false, pack_time(completion.exec_ns)));
    work.wr.rdma.remote_addr = output_.address + done;
    work.wr.rdma.rkey = output_.rkey;
    post(work);
    done += length;
  } while (done < size);
  output_bulk_->busy_until = sends_;
  if (!one_message) reply_with_line(index, Status::kOk, size, completion.exec_ns, {});
}

// ---- failures ----

void ServerChannel::reply_with_line(std::uint32_t slot, Status status, std::uint64_t size,
                                    std::uint64_t exec_ns, std::string_view error) noexcept {
  const std::uint64_t place = slot * kReplyStride + kReplyLineAt;
  auto* const line = reinterpret_cast<ReplyLine*>(memory_ + staging_at_ + place);
  line->status = static_cast<std::uint8_t>(status);
  line->size = size;
  line->exec_ns = exec_ns;
  const std::size_t length = std::min(error.size(), line->error.size());
  line->error_size = static_cast<std::uint16_t>(length);
  // memcpy need not be signal-safe.
  for (std::size_t i = 0; i < length; ++i) line->error[i] = error[i];
  ibv_sge piece{reinterpret_cast<std::uintptr_t>(line),
                static_cast<std::uint32_t>(kReplyLineHead + length), memory_lkey_};
  ibv_send_wr work{};
  work.sg_list = &piece;
  work.num_sge = 1;
  work.opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
  work.send_flags = IBV_SEND_SOLICITED;
  work.imm_data = htonl(ReplyWord::encode(slot, true, 0));
  work.wr.rdma.remote_addr = replies_ + place;
  work.wr.rdma.rkey = replies_rkey_;
  post(work);
}

void ServerChannel::complete_dying(std::uint32_t, Status status, std::string_view error) noexcept {
  // Posting is a write to the device's memory, or one system call: the thread was in user code, so
  // no lock of the driver's is held.
  dying_ = true;
  unsignalled_ = depths_.signal_every;  // this one is
  reply_with_line(slot_, status, 0, 0, error);
  // The process may end at once, and its queue pair with it: first the reply must have arrived.
  const base::Ticks start = base::ticks();
  while (!sends_have_ended(sends_) && !post_failed_ && base::ticks() - start < dying_ticks_) {
    collect_completions();
  }
  dying_ = false;
}

// ---- sleeping ----

void ServerChannel::sleep(std::chrono::nanoseconds limit) noexcept {
  if (used_ < found_ && waiting_ == Waiting::kNothing) return;
  if (!armed_) {
    // All completions: the one waited for may be of a read.
    if (ibv_req_notify_cq(queue_, 0) != 0) break_off("the completion queue cannot be armed");
    armed_ = true;
  }
  // What came before the queue was armed raises no event: look once more.
  const int before = found_ - used_;
  const std::uint32_t sends_before = sends_done_;
  collect_completions();
  if (found_ - used_ != before || sends_done_ != sends_before || !is_open()) return;
  std::array<pollfd, 2> fds{{{parts_.wake->fd, POLLIN, 0}, {parts_.interrupt.get(), POLLIN, 0}}};
  if (!await_fds(fds, limit) || fds[0].revents == 0) return;
  ibv_cq* queue = nullptr;
  void* context = nullptr;
  if (ibv_get_cq_event(parts_.wake.get(), &queue, &context) != 0) return;
  armed_ = false;
  if (++unacknowledged_ == kEventsPerAck) {
    ibv_ack_cq_events(queue_, unacknowledged_);
    unacknowledged_ = 0;
  }
}

void ServerChannel::interrupt() noexcept {
  open_.store(false);
  ::eventfd_write(parts_.interrupt.get(), 1);
}

}  // namespace sublet::transport::verbs
