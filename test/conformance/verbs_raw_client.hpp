#pragma once

// A client of the verbs transport made of bare verbs, which keeps no rule it does not want to.

#include "process.hpp"
#include "support/proved_greeting.hpp"
#include "verbs_transport.hpp"
#include <transport/verbs/verbs_setup.hpp>

#include <arpa/inet.h>

#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace sublet::conformance {

class RawVerbsClient {
 public:
  static constexpr std::uint32_t kSlots = 16;
  static constexpr std::uint64_t kArena = 1u << 20;

  /// What a well-behaved client of this worker would say, but for the place of its replies.
  static transport::verbs::Hello hello(std::uint32_t worker) {
    transport::verbs::Hello hello{};
    hello.magic = transport::verbs::kMagic;
    hello.version = transport::verbs::kVersion;
    hello.slots = kSlots;
    hello.arena_size = kArena;
    hello.worker = worker;
    return hello;
  }

  /// Gets as far as a queue pair; then accepted() says how it ended.
  RawVerbsClient(const std::string& address, std::optional<transport::verbs::Hello> hello)
      : events_(transport::verbs::make_event_channel().value_or_throw()) {
    rdma_cm_id* made = nullptr;
    check(rdma_create_id(events_.get(), &made, nullptr, RDMA_PS_TCP), "rdma_create_id");
    id_.reset(made);
    auto target = first_address(address);
    check(rdma_resolve_addr(made, nullptr, target.get(), 5000), "rdma_resolve_addr");
    expect(RDMA_CM_EVENT_ADDR_RESOLVED);
    check(rdma_resolve_route(made, 5000), "rdma_resolve_route");
    expect(RDMA_CM_EVENT_ROUTE_RESOLVED);
    domain_ = transport::verbs::make_domain(made->verbs).value_or_throw();
    queue_ = transport::verbs::make_queue(made->verbs, 256, nullptr).value_or_throw();
    memory_ = transport::verbs::Registered::make(
                  domain_.get(), "sublet-raw-client", 128 << 10,
                  IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ)
                  .value_or_throw();
    ibv_qp_init_attr init{};
    init.send_cq = queue_.get();
    init.recv_cq = queue_.get();
    init.qp_type = IBV_QPT_RC;
    init.cap = {64, 64, 1, 1, 0};
    check(rdma_create_qp(made, domain_.get(), &init), "rdma_create_qp");
    for (int i = 0; i < 32; ++i) {
      ibv_recv_wr receive{};
      ibv_recv_wr* bad = nullptr;
      check(ibv_post_recv(made->qp, &receive, &bad), "ibv_post_recv");
    }
    rdma_conn_param parameters{};
    if (hello) {
      hello->replies_address = reinterpret_cast<std::uintptr_t>(memory_.data());
      hello->replies_rkey = memory_.region->rkey;
      *hello = transport::proved(*hello, kToken);
      parameters.private_data = &*hello;
      parameters.private_data_len = sizeof(*hello);
    }
    parameters.responder_resources = 4;
    parameters.initiator_depth = 1;
    parameters.retry_count = 7;
    check(rdma_connect(made, &parameters), "rdma_connect");
    outcome_ = next();
  }
  RawVerbsClient(const RawVerbsClient&) = delete;
  RawVerbsClient& operator=(const RawVerbsClient&) = delete;
  ~RawVerbsClient() {
    rdma_disconnect(id_.get());
    if (id_->qp != nullptr) rdma_destroy_qp(id_.get());
  }

  [[nodiscard]] bool accepted() const { return outcome_ == RDMA_CM_EVENT_ESTABLISHED; }
  [[nodiscard]] std::string refusal() const {
    transport::verbs::Rejection rejection{};
    if (said_.size() >= sizeof(rejection)) std::memcpy(&rejection, said_.data(), sizeof(rejection));
    return rejection.magic == transport::kAnswerMagic ? rejection.text.data() : "";
  }
  [[nodiscard]] transport::verbs::Welcome welcome() const {
    transport::verbs::Welcome welcome{};
    if (said_.size() >= sizeof(welcome)) std::memcpy(&welcome, said_.data(), sizeof(welcome));
    return welcome;
  }
  /// Where slot `number` of the worker's ring lies.
  [[nodiscard]] std::uint64_t slot(std::uint32_t number) const {
    return welcome().requests_address +
           number * transport::verbs::request_stride(welcome().slot_payload);
  }
  [[nodiscard]] std::byte* memory() const { return memory_.data(); }

  /// One signalled operation on `size` bytes of memory; how it ended.
  ibv_wc_status operate(ibv_wr_opcode opcode, std::uint64_t address, std::uint32_t rkey,
                        std::uint32_t size, std::uint32_t word = 0) {
    ibv_sge piece{reinterpret_cast<std::uintptr_t>(memory_.data()), size, memory_.region->lkey};
    ibv_send_wr work{};
    work.sg_list = &piece;
    work.num_sge = size == 0 ? 0 : 1;
    work.opcode = opcode;
    work.send_flags = IBV_SEND_SIGNALED;
    work.imm_data = htonl(word);
    work.wr.rdma.remote_addr = address;
    work.wr.rdma.rkey = rkey;
    ibv_send_wr* bad = nullptr;
    check(ibv_post_send(id_->qp, &work, &bad), "ibv_post_send");
    std::optional<ibv_wc_status> status;
    (void)await([&] {
      ibv_wc done{};
      while (!status && ibv_poll_cq(queue_.get(), 1, &done) == 1) {
        const bool is_receive = done.status == IBV_WC_SUCCESS && (done.opcode & IBV_WC_RECV) != 0;
        if (is_receive) replies_.push_back(ntohl(done.imm_data));
        if (!is_receive) status = done.status;
      }
      return status.has_value();
    });
    return status.value_or(IBV_WC_GENERAL_ERR);
  }

  /// The immediate word of the next reply.
  std::optional<std::uint32_t> reply() {
    (void)await([&] {
      ibv_wc done{};
      while (ibv_poll_cq(queue_.get(), 1, &done) == 1) {
        if (done.status == IBV_WC_SUCCESS && (done.opcode & IBV_WC_RECV) != 0) {
          replies_.push_back(ntohl(done.imm_data));
        }
      }
      return !replies_.empty();
    });
    if (replies_.empty()) return std::nullopt;
    const std::uint32_t word = replies_.front();
    replies_.erase(replies_.begin());
    return word;
  }

 private:
  static void check(int result, const char* what) {
    if (result != 0) throw std::runtime_error(std::string(what) + ": " + std::strerror(errno));
  }
  rdma_cm_event_type next() {
    pollfd ready{events_->fd, POLLIN, 0};
    rdma_cm_event* event = nullptr;
    if (::poll(&ready, 1, 10'000) != 1) throw std::runtime_error("no event in time");
    check(rdma_get_cm_event(events_.get(), &event), "rdma_get_cm_event");
    const auto type = event->event;
    if ((type == RDMA_CM_EVENT_ESTABLISHED || type == RDMA_CM_EVENT_REJECTED) &&
        event->param.conn.private_data != nullptr) {
      const auto* said = static_cast<const std::byte*>(event->param.conn.private_data);
      said_.assign(said, said + event->param.conn.private_data_len);
    }
    rdma_ack_cm_event(event);
    return type;
  }
  void expect(rdma_cm_event_type type) {
    if (const auto got = next(); got != type) throw std::runtime_error(rdma_event_str(got));
  }

  transport::verbs::EventChannel events_;
  transport::verbs::Domain domain_;
  transport::verbs::Queue queue_;
  transport::verbs::Registered memory_;
  transport::verbs::ConnectionId id_;
  rdma_cm_event_type outcome_{};
  std::vector<std::byte> said_;
  std::vector<std::uint32_t> replies_;
};

}  // namespace sublet::conformance
