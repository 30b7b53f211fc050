#include <executor/processors.hpp>

#include <dlfcn.h>
#include <sched.h>
#include <unistd.h>

#include <array>

namespace sublet::executor {
namespace {

using Sysconf = long (*)(int);

/// Written while there is one thread. Not in a zygote: hwloc counts the machine there.
bool g_own = false;

/// Of the calling thread; 0: the system does not say.
long own_processors() noexcept {
  std::array<cpu_set_t, 8> sets{};  // 8192 processors
  if (::sched_getaffinity(0, sizeof(sets), sets.data()) != 0) return 0;
  return CPU_COUNT_S(sizeof(sets), sets.data());
}

long system_says(int name) noexcept {
  static const auto original = reinterpret_cast<Sysconf>(::dlsym(RTLD_NEXT, "sysconf"));
  return original == nullptr ? -1 : original(name);
}

}  // namespace

void count_own_processors() noexcept {
  g_own = true;
}

}  // namespace sublet::executor

// The dynamic linker finds these before the C library's, as they are the program's own.
extern "C" [[gnu::visibility("default")]] long sysconf(int name) noexcept {
  using namespace sublet::executor;
  const long own = g_own && name == _SC_NPROCESSORS_ONLN ? own_processors() : 0;
  return own > 0 ? own : system_says(name);
}

extern "C" [[gnu::visibility("default")]] int get_nprocs() noexcept {
  return static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
}
