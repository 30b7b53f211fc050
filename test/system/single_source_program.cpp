// An application as single_source_faults_test wants it: what its main() does wrong is its first
// argument. Prints what became of a call.

#include <sublet/sublet.hpp>

#include <cstdio>
#include <string>

#ifdef WITH_MPI
#include <mpi.h>
#endif

#ifdef WITH_TWINS
int twin_1(sublet::Lease& lease);
int twin_2(sublet::Lease& lease);
#endif

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
    std::printf("result %d\n", lease.call([](int x) { return x + 1; }, 41).value_or_throw());
  } catch (const std::exception& error) {
    std::printf("error: %s\n", error.what());
    return 1;
  }
  return 0;
}
