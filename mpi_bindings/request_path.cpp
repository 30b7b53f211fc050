#include "request_path.hpp"

#include "implementation.hpp"
#include <sublet/mpi.hpp>

#include <dlfcn.h>
#include <mpi.h>

#include <cstdlib>
#include <string>
#include <string_view>

namespace sublet::mpi {
namespace {

using Kind = RequestPath::Kind;

constexpr const char* kVariable = "SUBLET_MPI_REQUESTS";

#ifdef MPICH_VERSION
constexpr bool kHasPoll = true;
#else
constexpr bool kHasPoll = false;
#endif

/// Open MPI's own functions, of which its headers say nothing: they need not be there.
bool find_progress([[maybe_unused]] RequestPath& path) {
#ifdef OMPI_MAJOR_VERSION
  using Change = int (*)(RequestPath::Callback);
  path.start_calling = reinterpret_cast<Change>(::dlsym(RTLD_DEFAULT, "opal_progress_register"));
  path.stop_calling = reinterpret_cast<Change>(::dlsym(RTLD_DEFAULT, "opal_progress_unregister"));
#endif
  return path.start_calling != nullptr && path.stop_calling != nullptr;
}

Result<RequestPath> choose(int level) {
  RequestPath path;
  const bool has_progress = find_progress(path);
  const char* value = std::getenv(kVariable);
  const std::string_view wanted = value == nullptr ? "" : value;
  if (wanted == "progress" || (wanted.empty() && has_progress)) {
    path.kind = Kind::kProgress;
  } else if (wanted == "poll" || (wanted.empty() && kHasPoll)) {
    path.kind = Kind::kPoll;
  } else if (wanted == "helper" || wanted.empty()) {
    path.kind = Kind::kHelper;
  } else {
    return fail(ErrorKind::kInvalid, std::string(kVariable) + " is '" + std::string(wanted) +
                                         "'; it may be progress, poll or helper");
  }
  const bool there =
      path.kind == Kind::kHelper || (path.kind == Kind::kProgress ? has_progress : kHasPoll);
  if (!there) {
    return fail(ErrorKind::kUnsupported, "this MPI cannot do what " + std::string(kVariable) +
                                             " asks for, '" + std::string(wanted) + "'");
  }
  if (path.kind == Kind::kHelper && level < MPI_THREAD_MULTIPLE) {
    return fail(
        ErrorKind::kUnsupported,
        "requests for calls need a helper thread with this MPI, and so MPI_THREAD_MULTIPLE; "
        "ask MPI_Init_thread for it, or wait with waitall()");
  }
  path.threads = path.kind == Kind::kHelper || level > MPI_THREAD_FUNNELED;
  return path;
}

}  // namespace

const Result<RequestPath>& request_path_of_process() {
  static const Result<RequestPath> path = [] {
    int level = MPI_THREAD_SINGLE;
    MPI_Query_thread(&level);
    return choose(level);
  }();
  return path;
}

Result<RequestPath> offered_request_path() {
  if (!wrong_library().empty()) return fail(ErrorKind::kUnsupported, wrong_library());
  return choose(MPI_THREAD_MULTIPLE);
}

const char* name_of(const Result<RequestPath>& path) noexcept {
  if (!path) return "none";
  switch (path->kind) {
    case Kind::kProgress:
      return "progress";
    case Kind::kPoll:
      return "poll";
    case Kind::kHelper:
      break;
  }
  return "helper";
}

}  // namespace sublet::mpi
