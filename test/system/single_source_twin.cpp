// Compiled twice: the lambda in `work` is another function each time, and has the same name.

#include <sublet/sublet.hpp>

static int work(sublet::Lease& lease) {
  return lease.call([](int x) { return x + TWIN; }, 1).value_or_throw();
}

#if TWIN == 1
int twin_1(sublet::Lease& lease) {
  return work(lease);
}
#else
int twin_2(sublet::Lease& lease) {
  return work(lease);
}
#endif
