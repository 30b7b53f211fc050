#include <cli/slurm_templates.hpp>

#include <algorithm>
#include <string>

namespace sublet::cli {

std::string_view SlurmTemplate::summary() const {
  const std::size_t begin = text.find("\n# ");
  if (begin == std::string_view::npos) return {};
  const std::size_t end = text.find('\n', begin + 1);
  return text.substr(begin + 3, end - begin - 3);
}

Result<SlurmTemplate> find_slurm_template(std::string_view name) {
  const auto all = slurm_templates();
  const auto found = std::ranges::find(all, name, &SlurmTemplate::name);
  if (found != all.end()) return *found;
  std::string names;
  for (const SlurmTemplate& each : all) {
    names += names.empty() ? "" : ", ";
    names += each.name;
  }
  return fail(ErrorKind::kInvalid,
              "there is no template '" + std::string(name) + "'; there are " + names);
}

}  // namespace sublet::cli
