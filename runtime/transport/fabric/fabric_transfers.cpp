// What Transfers does off the shortest way: large messages, failures.

#include <base/log.hpp>
#include <transport/fabric/fabric_transfers_datapath.hpp>

#include <rdma/fi_errno.h>

#include <cstddef>
#include <string>

namespace sublet::transport::fabric {

static_assert(offsetof(Operation, context) == 0);

namespace {

/// One piece of memory here and one there. It keeps the addresses of its arguments.
[[gnu::always_inline]] inline fi_msg_rma one_piece(const iovec& local, void*& descriptor,
                                                   fi_addr_t peer, const fi_rma_iov& remote,
                                                   void* context) noexcept {
  fi_msg_rma message{};
  message.msg_iov = &local;
  message.desc = &descriptor;
  message.iov_count = 1;
  message.addr = peer;
  message.rma_iov = &remote;
  message.rma_iov_count = 1;
  message.context = context;
  return message;
}

}  // namespace

Transfers::Transfers(const Provider& provider) : fabric_(provider.fabric.get()) {
  const fi_info& info = *provider.info;
  inject_size_ = info.tx_attr->inject_size;
  joined_ = info.tx_attr->rma_iov_limit >= 2 && info.tx_attr->iov_limit >= 2;
  fences_ = (info.caps & FI_FENCE) != 0;
  const bool in_order = (info.tx_attr->msg_order & (FI_ORDER_WAW | FI_ORDER_RMA_WAW)) != 0;
  ordered_size_ = in_order ? info.ep_attr->max_order_waw_size : 0;
  receives_data_ = ((info.mode | info.rx_attr->mode) & FI_RX_CQ_DATA) != 0;
}

int Transfers::receive_data(void* operation) noexcept {
  return static_cast<int>(fi_recv(handle_, nullptr, 0, nullptr, FI_ADDR_UNSPEC, operation));
}

bool Transfers::may_wait() const noexcept {
  if (wait_fd_ < 0) return true;
  fid* fids[] = {&queue_->fid};
  return fi_trywait(fabric_, fids, 1) == 0;
}

void Transfers::break_off(const char* attempt, int error) noexcept {
  if (!broken_) {
    base::log().debug("fabric: {}{}; the channel ends", attempt,
                      error == 0 ? std::string() : ": " + fabric_error(error));
  }
  broken_ = true;
}

void Transfers::read_error() noexcept {
  fi_cq_err_entry error{};
  const ssize_t got = fi_cq_readerr(queue_, &error, 0);
  if (got == -FI_EAGAIN) return;
  if (!broken_) {
    base::log().debug("fabric: an operation failed ({}); the channel ends",
                      got > 0 ? fabric_error(error.err) : fabric_error(got));
  }
  broken_ = true;
}

int Transfers::post_head(const Message& message, bool tell, std::uint64_t flags) noexcept {
  const iovec local{const_cast<void*>(message.head), message.head_size};
  void* descriptor = message.head_descriptor;
  const fi_rma_iov remote{message.head_address, message.head_size, message.head_key};
  fi_msg_rma write = one_piece(local, descriptor, peer_, remote, &message.operations->head);
  write.data = message.number;
  const ssize_t result =
      fi_writemsg(handle_, &write, FI_REMOTE_CQ_DATA | flags | (tell ? FI_COMPLETION : 0));
  if (result == 0) message.operations->head.under_way = tell;
  return static_cast<int>(result);
}

int Transfers::write_payload(const Message& message, std::uint64_t flags) noexcept {
  const iovec local{const_cast<void*>(message.payload), message.payload_size};
  void* descriptor = message.payload_descriptor;
  const fi_rma_iov remote{message.payload_address, message.payload_size, message.payload_key};
  const fi_msg_rma write =
      one_piece(local, descriptor, peer_, remote, &message.operations->payload);
  return static_cast<int>(fi_writemsg(handle_, &write, flags));
}

int Transfers::post_with_payload(const Message& message, bool tell) noexcept {
  if (!joined_) {
    if (must_place_first(message.payload_size)) return post_head(message, tell, 0);
    // When there is no room for the head the payload is written once more: it does no harm.
    if (const int error = write_payload(message, 0)) return error;
    return post_head(message, tell, ordered(message.payload_size) ? 0 : FI_FENCE);
  }
  const std::array<iovec, 2> local{iovec{const_cast<void*>(message.payload), message.payload_size},
                                   iovec{const_cast<void*>(message.head), message.head_size}};
  std::array<void*, 2> descriptors{message.payload_descriptor, message.head_descriptor};
  const std::array<fi_rma_iov, 2> remote{
      fi_rma_iov{message.payload_address, message.payload_size, message.payload_key},
      fi_rma_iov{message.head_address, message.head_size, message.head_key}};
  fi_msg_rma write{};
  write.msg_iov = local.data();
  write.desc = descriptors.data();
  write.iov_count = local.size();
  write.addr = peer_;
  write.rma_iov = remote.data();
  write.rma_iov_count = remote.size();
  write.context = &message.operations->head;
  write.data = message.number;
  const ssize_t result =
      fi_writemsg(handle_, &write, FI_REMOTE_CQ_DATA | (tell ? FI_COMPLETION : 0));
  if (result == 0) message.operations->head.under_way = tell;
  return static_cast<int>(result);
}

int Transfers::place(const Message& message) noexcept {
  const int result = write_payload(message, FI_COMPLETION | FI_DELIVERY_COMPLETE);
  if (result == 0) message.operations->payload.under_way = true;
  return result;
}

int Transfers::read(void* to, std::size_t size, void* descriptor, std::uint64_t address,
                    std::uint64_t key, Operation& operation) noexcept {
  const iovec local{to, size};
  const fi_rma_iov remote{address, size, key};
  const fi_msg_rma request = one_piece(local, descriptor, peer_, remote, &operation.context);
  const ssize_t result = fi_readmsg(handle_, &request, FI_COMPLETION);
  if (result == 0) operation.under_way = true;
  return static_cast<int>(result);
}

}  // namespace sublet::transport::fabric
