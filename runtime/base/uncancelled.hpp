#pragma once

#include <pthread.h>

namespace sublet::base {

/// While it lives, pthread_cancel of this thread waits. Calls are noexcept, and their ends are
/// other threads' business too: a cancellation in the middle of one would end the program. Costs
/// some 10 ns: only where one waits anyway.
class Uncancelled {
 public:
  Uncancelled() noexcept { ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  ~Uncancelled() { ::pthread_setcancelstate(before_, nullptr); }
  Uncancelled(const Uncancelled&) = delete;
  Uncancelled& operator=(const Uncancelled&) = delete;

 private:
  int before_ = PTHREAD_CANCEL_ENABLE;
};

}  // namespace sublet::base
