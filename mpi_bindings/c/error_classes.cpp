#include "error_classes.hpp"

#include "../implementation.hpp"

#include <sublet.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <mutex>

namespace sublet::mpi {
namespace {

constexpr int kMostCodes = 128;  // -code is an index
static_assert(-SUBLET_ERR_UNDER_WAY < kMostCodes);

/// MPI's classes are the process's, and so is this. 0: not made yet.
std::array<std::atomic<int>, kMostCodes>& classes() noexcept {
  static std::array<std::atomic<int>, kMostCodes> all{};
  return all;
}

/// 0 when MPI refuses.
int make_class(int code) noexcept {
  int made = 0;
  if (MPI_Add_error_class(&made) != MPI_SUCCESS) return 0;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  std::snprintf(text.data(), text.size(), "Sublet: %s", sublet_error_string(code));
  MPI_Add_error_string(made, text.data());
  return made;
}

}  // namespace

int mpi_state() noexcept {
  if (!wrong_library().empty()) return SUBLET_ERR_OTHER_MPI;
  int is = 0;
  MPI_Initialized(&is);
  if (is == 0) return SUBLET_ERR_NOT_INITIALIZED;
  MPI_Finalized(&is);
  return is == 0 ? SUBLET_SUCCESS : SUBLET_ERR_FINALIZED;
}

int no_mpi(int state, const char* finalized) noexcept {
  const char* text = "MPI is not initialised; call MPI_Init first";
  if (state == SUBLET_ERR_FINALIZED) text = finalized;
  if (state == SUBLET_ERR_OTHER_MPI) text = wrong_library().c_str();
  return sublet_set_last_error(state, text);
}

int error_class_of(int code) noexcept {
  if (code == SUBLET_SUCCESS) return MPI_SUCCESS;
  if (code > 0 || code <= -kMostCodes || mpi_state() != SUBLET_SUCCESS) return code;
  std::atomic<int>& known = classes()[static_cast<std::size_t>(-code)];
  if (const int found = known.load(std::memory_order_acquire); found != 0) return found;
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  if (const int found = known.load(std::memory_order_relaxed); found != 0) return found;
  const int made = make_class(code);
  known.store(made, std::memory_order_release);  // pairs with the load above
  return made == 0 ? code : made;
}

int code_of_class(int error) noexcept {
  if (error <= 0) return error;
  for (int i = 1; i < kMostCodes; ++i) {
    if (classes()[static_cast<std::size_t>(i)].load(std::memory_order_acquire) == error) return -i;
  }
  return SUBLET_ERR_INTERNAL;
}

int finish(MPI_Comm comm, int code) noexcept {
  if (code == SUBLET_SUCCESS) return MPI_SUCCESS;
  const int error = error_class_of(code);
  if (error > 0) MPI_Comm_call_errhandler(comm == MPI_COMM_NULL ? MPI_COMM_WORLD : comm, error);
  return error;
}

}  // namespace sublet::mpi
