#include <base/descriptors.hpp>
#include <executor/surroundings.hpp>
#include <wire/gpu_uuid.hpp>

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

extern char** environ;

namespace sublet::executor {
namespace {

using namespace std::string_view_literals;

/// They bind threads to cores of the whole node, or count these.
constexpr std::array kThreadVariables{
    "GOMP_CPU_AFFINITY"sv,      "KMP_AFFINITY"sv,         "KMP_HW_SUBSET"sv,
    "KMP_PLACE_THREADS"sv,      "OMP_DYNAMIC"sv,          "OMP_PLACES"sv,
    "OMP_PROC_BIND"sv,          "OMP_THREAD_LIMIT"sv,     "BLIS_NUM_THREADS"sv,
    "GOTO_NUM_THREADS"sv,       "KMP_ALL_THREADS"sv,      "KMP_DEVICE_THREAD_LIMIT"sv,
    "KMP_TEAMS_THREAD_LIMIT"sv, "MKL_DYNAMIC"sv,          "MKL_NUM_THREADS"sv,
    "NUMEXPR_NUM_THREADS"sv,    "OPENBLAS_NUM_THREADS"sv, "VECLIB_MAXIMUM_THREADS"sv};

/// A library that reads them takes its process for a rank of the job that the manager runs in.
constexpr std::array kJobPrefixes{
    "FLUX_"sv, "HYDRA_"sv, "HYDI_"sv, "I_MPI_"sv, "MPI_LOCAL"sv, "MV2_COMM_WORLD_"sv, "OMPI_"sv,
    "OPAL_"sv, "ORTE_"sv,  "PALS_"sv, "PMIX_"sv,  "PMI_"sv,      "PRTE_"sv,           "SLURM_"sv};

/// They number GPUs among those that the manager may use.
constexpr std::array kGpuVariables{"CUDA_VISIBLE_DEVICES"sv, "GPU_DEVICE_ORDINAL"sv,
                                   "HIP_VISIBLE_DEVICES"sv, "ROCR_VISIBLE_DEVICES"sv};

template <std::size_t N>
bool is_among(std::string_view name, const std::array<std::string_view, N>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool belongs_to_job(std::string_view name) {
  return std::any_of(kJobPrefixes.begin(), kJobPrefixes.end(),
                     [name](std::string_view prefix) { return name.starts_with(prefix); });
}

void forget_variables() {
  std::vector<std::string> names;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const auto name = text.substr(0, text.find('='));
    if (is_among(name, kThreadVariables) || is_among(name, kGpuVariables) || belongs_to_job(name)) {
      names.emplace_back(name);
    }
  }
  for (const std::string& name : names) ::unsetenv(name.c_str());
}

void reset_signals() {
  for (int number = 1; number <= SIGRTMAX; ++number) {
    // Fails for those that have no disposition, or are the C library's own.
    if (number != SIGKILL && number != SIGSTOP) ::signal(number, SIG_DFL);
  }
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace

void enter_usable_directory() {
  char* here = ::getcwd(nullptr, 0);
  const bool usable = here != nullptr && here[0] == '/' && ::access(".", X_OK) == 0;
  std::free(here);
  if (!usable && ::chdir("/") != 0) std::perror("sublet-executor: entering /");
}

void prepare_surroundings() {
  reset_signals();
  enter_usable_directory();
  // A function that reads would take what is typed for the application.
  base::read_nothing();
  forget_variables();
  // Executors end without the runtime's end: what Fortran prints must not wait for that.
  ::setenv("GFORTRAN_UNBUFFERED_PRECONNECTED", "y", 1);
}

void leave_manager() {
  ::umask(022);
  if (::chdir("/") != 0) std::perror("sublet-executor: entering /");
}

void adapt_to_cores(std::uint32_t cores) {
  ::setenv("OMP_NUM_THREADS", std::to_string(cores).c_str(), 1);
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
}

void show_gpus(std::string_view list) {
  std::string nvidia;
  std::string amd;
  while (!list.empty()) {
    const std::string_view uuid = list.substr(0, list.find(','));
    list.remove_prefix(std::min(list.size(), uuid.size() + 1));
    std::string& to = wire::is_amd_gpu(uuid) ? amd : nvidia;
    to += (to.empty() ? "" : ",") + std::string(uuid);
  }
  // Empty, not absent: then a library takes what there is.
  ::setenv("CUDA_VISIBLE_DEVICES", nvidia.c_str(), 1);
  ::setenv("ROCR_VISIBLE_DEVICES", amd.c_str(), 1);
}

void use_home_of(std::uint32_t uid) {
  std::vector<char> buffer(16384);
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) {
    ::setenv("HOME", found->pw_dir, 1);
    ::setenv("USER", found->pw_name, 1);
    ::setenv("LOGNAME", found->pw_name, 1);
  } else {
    ::setenv("HOME", "/", 1);
    ::unsetenv("USER");
    ::unsetenv("LOGNAME");
  }
}

}  // namespace sublet::executor
