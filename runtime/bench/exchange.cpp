#include "exchange.hpp"

#include <thread>

namespace sublet::bench {

Result<void> SubletExchange::end() {
  // Nothing in the API tells that a worker sleeps, so the time after which it does has to do; twice
  // of it and some, since the worker may have been kept from its core.
  std::this_thread::sleep_for(2 * kHotTimeout + std::chrono::milliseconds(1));
  return {};
}

Error SubletExchange::failure() const {
  if (status_ == Status::kOk) {
    return Error(ErrorKind::kInternal, "'echo' sent other bytes back than it was given");
  }
  return Error(
      ErrorKind::kDisconnected,
      std::string("calling 'echo': ") + sublet::to_string(status_) + ": " + echo_->last_error());
}

}  // namespace sublet::bench
