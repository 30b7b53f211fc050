// How many processors a function has. Thread libraries count those that it may run on
// (sched_getaffinity), which are its worker's; std::thread::hardware_concurrency, TBB and others
// ask the C library, which counts those of the machine: then a function would start a thread for
// each of these on the few cores of its worker.

#include <dlfcn.h>
#include <sched.h>
#include <unistd.h>

#include <array>

namespace {

using Sysconf = long (*)(int);

/// Of the calling thread; 0: the system does not say.
int own_processors() noexcept {
  std::array<cpu_set_t, 8> sets{};  // 8192 processors
  if (::sched_getaffinity(0, sizeof(sets), sets.data()) != 0) return 0;
  return CPU_COUNT_S(sizeof(sets), sets.data());
}

long system_says(int name) noexcept {
  static const auto original = reinterpret_cast<Sysconf>(::dlsym(RTLD_NEXT, "sysconf"));
  return original == nullptr ? -1 : original(name);
}

}  // namespace

// The dynamic linker finds these before the C library's, as they are the program's own.
extern "C" [[gnu::visibility("default")]] long sysconf(int name) noexcept {
  const int own = name == _SC_NPROCESSORS_ONLN ? own_processors() : 0;
  return own > 0 ? own : system_says(name);
}

extern "C" [[gnu::visibility("default")]] int get_nprocs() noexcept {
  return static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
}
