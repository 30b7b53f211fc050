#include "implementation.hpp"

#include <mpi.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace sublet::mpi {
namespace {

// What this library is compiled for. Each launcher tells its ranks how many they are.
#if defined(OMPI_MAJOR_VERSION)
#define SUBLET_TEXT_OF(x) #x
#define SUBLET_VERSION_TEXT(a, b, c) SUBLET_TEXT_OF(a) "." SUBLET_TEXT_OF(b) "." SUBLET_TEXT_OF(c)
constexpr bool kIsOpenMpi = true;
constexpr bool kIsMpich = false;
constexpr const char* kCompiledFor =
    "Open MPI " SUBLET_VERSION_TEXT(OMPI_MAJOR_VERSION, OMPI_MINOR_VERSION, OMPI_RELEASE_VERSION);
#elif defined(MPICH_VERSION)
constexpr bool kIsOpenMpi = false;
constexpr bool kIsMpich = true;
constexpr const char* kCompiledFor = "MPICH " MPICH_VERSION;
#else
constexpr bool kIsOpenMpi = false;
constexpr bool kIsMpich = false;
constexpr const char* kCompiledFor = "another MPI";
#endif

constexpr const char* kOpenMpiSize = "OMPI_COMM_WORLD_SIZE";
constexpr const char* kMpichSize = "PMI_SIZE";

/// As the library calls itself, in one line. A pointer to text and one to a number: every MPI's
/// binary interface agrees on that.
std::string running() {
  std::array<char, 8192> text{};  // any MPI's MPI_MAX_LIBRARY_VERSION_STRING, not ours
  int length = 0;
  if (MPI_Get_library_version(text.data(), &length) != MPI_SUCCESS) return {};
  text.back() = '\0';
  std::string line(text.data(), std::strcspn(text.data(), "\n,"));
  for (char& c : line) {
    if (c == '\t') c = ' ';
  }
  return line;
}

std::string look_at_library() {
  const std::string found = running();
  const bool is_open_mpi = found.starts_with("Open MPI");
  // MPICH's binary interface is also that of others, which may stand in for it.
  const bool fits = kIsOpenMpi ? is_open_mpi : !kIsMpich || !is_open_mpi;
  if (fits) return {};
  return std::string("Sublet's MPI layer is built for ") + kCompiledFor +
         ", but this process runs " + found + "; link libsublet_mpi_" +
         (is_open_mpi ? "openmpi" : "mpich") +
         " (Sublet::mpi chooses by MPI_CXX_COMPILER, MPI_C_COMPILER)";
}

int number_in(const char* variable) {
  const char* value = std::getenv(variable);
  int number = 0;
  if (value != nullptr) std::from_chars(value, value + std::strlen(value), number);
  return number;
}

std::string look_at_launcher() {
  int size = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (size != 1 || (!kIsOpenMpi && !kIsMpich)) return {};
  const char* const own = kIsOpenMpi ? kOpenMpiSize : kMpichSize;
  const char* const others = kIsOpenMpi ? kMpichSize : kOpenMpiSize;
  const int started = number_in(others);
  if (started < 2 || std::getenv(own) != nullptr) return {};
  const std::string name = kIsOpenMpi ? "Open MPI" : "MPICH";
  const std::string other = kIsOpenMpi ? "MPICH" : "Open MPI";
  return "this program uses " + std::string(kCompiledFor) + ", but the mpirun of " + other +
         " has started it: of " + std::to_string(started) + " processes (" + others +
         ") each is alone in its MPI_COMM_WORLD; start it with the mpirun of " + name;
}

/// Looks once. Without memory nothing is known to be wrong.
template <class Look>
std::string looked(Look&& look) noexcept {
  try {
    return look();
  } catch (...) {
    return {};
  }
}

}  // namespace

const std::string& wrong_library() noexcept {
  static const std::string why = looked(look_at_library);
  return why;
}

const std::string& wrong_launcher() noexcept {
  static const std::string why = looked(look_at_launcher);
  return why;
}

}  // namespace sublet::mpi
