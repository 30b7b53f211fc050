#pragma once

#include <cli/doctor/finding.hpp>

#include <map>
#include <string>
#include <string_view>

namespace sublet::cli {

/// What the cluster gives to its nodes: MUNGE, Slurm and, on Slingshot, a job's VNIs.
/// Waits for munged and for `scontrol`, some seconds when these do not answer.
[[nodiscard]] Findings cluster_findings();

/// The lines "Key = value" of `scontrol show config`.
[[nodiscard]] std::map<std::string, std::string> read_slurm_config(std::string_view text);

/// Of `scontrol -o show partition`: a partition a line, "Key=value" with spaces between.
[[nodiscard]] Findings preemption_findings(const std::map<std::string, std::string>& config,
                                           std::string_view partitions);

}  // namespace sublet::cli
