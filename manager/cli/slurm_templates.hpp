#pragma once

#include <sublet/result.hpp>

#include <span>
#include <string_view>

namespace sublet::cli {

/// A batch script for people to copy: slurm/templates/NAME.sbatch, compiled in so that the command
/// can print it wherever it was copied to.
struct SlurmTemplate {
  std::string_view name;
  std::string_view text;

  /// What the script is for: its second line, which is a comment.
  [[nodiscard]] std::string_view summary() const;
};

/// All of them, by name. Made from the files by the build.
std::span<const SlurmTemplate> slurm_templates();

/// kInvalid lists the names there are.
Result<SlurmTemplate> find_slurm_template(std::string_view name);

}  // namespace sublet::cli
