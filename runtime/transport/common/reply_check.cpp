#include <transport/common/reply_check.hpp>

namespace sublet::transport {

void settle_overlong(ReplyView& reply) noexcept {
  reply.status = Status::kLost;
  reply.size = 0;
  reply.error = kOverlongReply;
}

bool is_failure(Status status) noexcept {
  return status != Status::kOk && status != Status::kAgain && status != Status::kDeadline &&
         status <= Status::kDenied;
}

void settle_failure(ReplyView& reply, std::string_view error) noexcept {
  reply.error = error;
  if (!is_failure(reply.status)) {
    reply.status = Status::kLost;
    reply.error = "the executor's reply has a status that no call can end with";
  }
  if (reply.status != Status::kOutputTooLarge) reply.size = 0;
}

}  // namespace sublet::transport
