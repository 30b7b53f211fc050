// A shared object of an application, with functions of its own on workers. Its lambda has the name
// of one in the program: each is called as what it is.

#include <sublet/sublet.hpp>

static int work(sublet::Lease& lease) {
  const int more = 40;
  return lease.call([more](int x) { return x + more; }, 3).value_or_throw();
}

int of_part(sublet::Lease& lease) {
  return work(lease);
}

/// For a program that loads this one itself.
extern "C" int of_loaded_part(sublet::Lease& lease) {
  return work(lease);
}
