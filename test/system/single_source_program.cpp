// An application as single_source_faults_test wants it: what its main() does wrong is its first
// argument. Prints what became of a call.

#include <sublet/c.hpp>
#include <sublet/sublet.hpp>

#include <dlfcn.h>

#include <cstdio>
#include <stdexcept>
#include <string>

#ifdef WITH_MPI
#include <mpi.h>
#endif

#ifdef WITH_TWINS
int twin_1(sublet::Lease& lease);
int twin_2(sublet::Lease& lease);
#endif

#ifdef WITH_PART
int of_part(sublet::Lease& lease);

static int work(sublet::Lease& lease) {
  const int more = 1;
  return lease.call([more](int x) { return x + more; }, 3).value_or_throw();
}
#endif

/// What a shared object that is loaded only now calls.
static int load_part(const char* path, sublet::Lease& lease) {
  void* part = ::dlopen(path, RTLD_NOW);
  if (part == nullptr) throw std::runtime_error(::dlerror());
  const auto call = reinterpret_cast<int (*)(sublet::Lease&)>(::dlsym(part, "of_loaded_part"));
  return call == nullptr ? -1 : call(lease);
}

int main(int argc, char** argv) {
  const std::string wrong = argc > 1 ? argv[1] : "nothing";
  std::puts("main runs");
  std::fflush(stdout);
  try {
#ifdef WITH_MPI
    if (wrong == "late") MPI_Init(&argc, &argv);
#endif
    if (wrong != "forgotten") sublet::init(argc, argv);
    auto session = sublet::Session::open().value_or_throw();
    auto lease = session.lease().value_or_throw();
#ifdef WITH_MPI
    if (wrong == "mpi") {
      lease.call([] { MPI_Init(nullptr, nullptr); }).value_or_throw();
    }
#endif
#ifdef WITH_TWINS
    std::printf("twins %d %d\n", twin_1(lease), twin_2(lease));
#endif
#ifdef WITH_PART
    std::printf("part %d of %s, program %d\n", of_part(lease), lease.worker(0).transport.c_str(),
                work(lease));
#endif
    if (wrong == "loads") std::printf("loaded %d\n", load_part(argv[2], lease));
    std::printf("result %d\n", lease.call([](int x) { return x + 1; }, 41).value_or_throw());
  } catch (const std::exception& error) {
    std::printf("error: %s\n", error.what());
    const auto* known = dynamic_cast<const sublet::Error*>(&error);
    const int code = known == nullptr ? 0 : sublet::c::code_of(known->kind());
    std::printf("code %d: %s\n", code, sublet_error_string(code));
    return 1;
  }
  return 0;
}
