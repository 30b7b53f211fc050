#pragma once

// clang-format off
// Which GPUs this node has, and which of them may be offered.
//
// SOURCES  The drivers' own lists, which need no tool and no library of theirs, start no GPU, and
//          answer at once:
//            NVIDIA  /proc/driver/nvidia/gpus/PCI/information
//            AMD     /sys/class/kfd/kfd/topology/nodes/N/properties
//          Or a file, one GPU a line: UUID, PCI address, name, memory; only the UUID must be there.
//          `nvidia-smi --query-gpu=uuid,pci.bus_id,name,memory.total --format=csv,noheader` writes
//          such a list. `#` begins a comment.
// RULES    Of these, those that the environment of this process leaves it: CUDA_VISIBLE_DEVICES,
//          ROCR_VISIBLE_DEVICES, and the numbers that Slurm has given its job or step. A Slurm job
//          that has been given no GPUs offers none but those that a file names.
//          Numbers count the GPUs of one maker in the order of their PCI addresses, for AMD of the
//          driver's nodes.
// LIMITS   wire::kMaxGpus, and kMaxListBytes. What is wrong with a file is an error, since somebody
//          has written it; what is wrong in a driver's list costs that GPU, with a line in the log.
// clang-format on

#include <sublet/result.hpp>
#include <sublet/session.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sublet::manager {

inline constexpr std::size_t kMaxListBytes = 64u << 10;

struct Gpu {
  GpuInfo info;
  std::string pci_address;  ///< "0000:07:00.0"; empty: not known.
};

/// What the environment says of GPUs; nothing: the variable is not set.
struct GpuVariables {
  std::optional<std::string> cuda{};   ///< CUDA_VISIBLE_DEVICES
  std::optional<std::string> rocr{};   ///< ROCR_VISIBLE_DEVICES
  std::optional<std::string> slurm{};  ///< SLURM_STEP_GPUS, else SLURM_JOB_GPUS
  bool in_slurm_job = false;

  /// Of this process.
  static GpuVariables get();
};

/// The GPUs to offer. `choice`: "auto", "none", or the path of a file. `root` goes before the
/// drivers' paths: for tests. kInvalid says what is wrong with the file, and in which line.
Result<std::vector<Gpu>> find_gpus(const std::string& choice, const GpuVariables& variables,
                                   const std::string& root = {});

/// What a list says; `name` is for errors.
Result<std::vector<Gpu>> parse_gpu_list(std::string_view text, const std::string& name);

}  // namespace sublet::manager
