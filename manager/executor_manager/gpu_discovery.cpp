#include <base/log.hpp>
#include <base/printable_text.hpp>
#include <base/system_text.hpp>
#include <executor_manager/gpu_discovery.hpp>
#include <wire/gpu_uuid.hpp>
#include <wire/limits.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <utility>

namespace sublet::manager {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxDriverFile = 16u << 10;  ///< Bytes of one file of a driver.
constexpr std::size_t kMaxEntries = 1024;          ///< Of one directory of a driver.

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

/// Takes what comes before the next `separator`, trimmed.
std::string_view next_part(std::string_view& rest, char separator) {
  const std::size_t end = std::min(rest.find(separator), rest.size());
  const std::string_view part = rest.substr(0, end);
  rest.remove_prefix(std::min(rest.size(), end + 1));
  return trimmed(part);
}

template <class Number>
std::optional<Number> number_in(std::string_view text, int base = 10) {
  Number value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// At most `limit` bytes of the file, and one more when it has more; nothing when it cannot be
/// read.
std::optional<std::string> read_file(const fs::path& path, std::size_t limit) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::string text(limit + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return std::nullopt;
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

/// The names in a directory, in order; none when there is no such directory.
std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    if (names.size() == kMaxEntries) break;
    names.push_back(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// "00000000:07:00.0" or "07:00.0", as hwloc and sysfs have it; empty when it is none.
std::string pci_address(std::string_view text) {
  std::string_view rest = text;
  const std::size_t colons = static_cast<std::size_t>(std::count(text.begin(), text.end(), ':'));
  if (colons != 1 && colons != 2) return {};
  const auto domain = colons == 2 ? number_in<std::uint32_t>(next_part(rest, ':'), 16) : 0u;
  const auto bus = number_in<std::uint32_t>(next_part(rest, ':'), 16);
  const auto device = number_in<std::uint32_t>(next_part(rest, '.'), 16);
  const auto function = number_in<std::uint32_t>(rest, 16);
  if (!domain || !bus || !device || !function || *bus > 0xff || *device > 0x1f || *function > 7) {
    return {};
  }
  std::array<char, 32> address{};
  std::snprintf(address.data(), address.size(), "%04x:%02x:%02x.%x", *domain, *bus, *device,
                *function);
  return address.data();
}

/// "40960 MiB"; 0 where it says that it is not known ("[N/A]").
std::optional<std::uint64_t> memory_bytes(std::string_view text) {
  if (text.empty() || text.front() == '[') return 0;
  const std::string_view digits = next_part(text, ' ');
  const auto count = number_in<std::uint64_t>(digits);
  constexpr std::uint64_t kMost = std::uint64_t{1} << 30;
  if (!count || *count > kMost || text != "MiB") return std::nullopt;
  return *count << 20;
}

std::string name_in(std::string_view text) {
  return base::printable(text.substr(0, wire::kMaxGpuName));
}

// ---- the drivers' lists ----

/// "Key: value" a line.
std::map<std::string, std::string> fields_of(std::string_view text, char separator) {
  std::map<std::string, std::string> fields;
  while (!text.empty()) {
    std::string_view line = next_part(text, '\n');
    const std::string_view key = next_part(line, separator);
    if (!key.empty()) fields.emplace(key, trimmed(line));
  }
  return fields;
}

void leave_out(const std::string& which, const std::string& why) {
  base::log().warn("the GPU {} is not offered: {}", which, why);
}

void find_nvidia(const fs::path& root, std::vector<Gpu>& gpus) {
  const fs::path directory = root / "proc/driver/nvidia/gpus";
  for (const std::string& name : names_in(directory)) {
    const std::string shown = base::printable(name);
    const auto text = read_file(directory / name / "information", kMaxDriverFile);
    if (!text) {
      leave_out(shown, "its driver's file 'information' cannot be read");
      continue;
    }
    auto fields = fields_of(*text, ':');
    if (fields["GPU Excluded"] == "Yes") continue;
    const std::string& uuid = fields["GPU UUID"];
    if (!wire::is_gpu_uuid(uuid)) {
      leave_out(shown, uuid.find('?') != std::string::npos
                           ? "its driver does not know its UUID before it is first used; run "
                             "nvidia-persistenced, or list it in a file (--gpus)"
                           : "its driver says that its UUID is '" + base::printable(uuid) + "'");
      continue;
    }
    gpus.push_back({{uuid, name_in(fields["Model"]), 0}, pci_address(name)});
  }
}

std::uint64_t bytes_of_banks(const fs::path& banks) {
  std::uint64_t sum = 0;
  for (const std::string& bank : names_in(banks)) {
    const auto text = read_file(banks / bank / "properties", kMaxDriverFile);
    if (!text) continue;
    const auto bytes = number_in<std::uint64_t>(fields_of(*text, ' ')["size_in_bytes"]);
    constexpr std::uint64_t kMost = std::uint64_t{1} << 50;
    sum += std::min(bytes.value_or(0), kMost);
  }
  return sum;
}

void find_amd(const fs::path& root, std::vector<Gpu>& gpus) {
  const fs::path directory = root / "sys/class/kfd/kfd/topology/nodes";
  std::map<std::uint32_t, std::string> by_number;  // 10 comes after 9
  for (const std::string& name : names_in(directory)) {
    if (const auto number = number_in<std::uint32_t>(name)) by_number.emplace(*number, name);
  }
  for (const auto& [number, name] : by_number) {
    // The driver refuses those that this process's cgroup may not use.
    const auto text = read_file(directory / name / "properties", kMaxDriverFile);
    if (!text) continue;
    auto fields = fields_of(*text, ' ');
    if (number_in<std::uint64_t>(fields["simd_count"]).value_or(0) == 0) continue;  // no GPU
    const auto id = number_in<std::uint64_t>(fields["unique_id"]);
    if (!id || *id == 0) {
      leave_out("of node " + name + " of AMD's driver",
                "it has no unique_id, so that no library could be told to use it alone");
      continue;
    }
    std::array<char, 32> uuid{};
    std::snprintf(uuid.data(), uuid.size(), "GPU-%016llx", static_cast<unsigned long long>(*id));
    const auto where = number_in<std::uint32_t>(fields["location_id"]);
    std::array<char, 32> address{};
    if (where) {
      std::snprintf(address.data(), address.size(), "%x:%x:%x.%x",
                    number_in<std::uint32_t>(fields["domain"]).value_or(0), *where >> 8 & 0xff,
                    *where >> 3 & 0x1f, *where & 7);
    }
    const auto model = read_file(directory / name / "name", kMaxDriverFile);
    gpus.push_back({{uuid.data(), name_in(trimmed(model.value_or(std::string()))),
                     bytes_of_banks(directory / name / "mem_banks")},
                    pci_address(address.data())});
  }
}

/// Two of one UUID would be given to two leases.
std::vector<Gpu> each_once(std::vector<Gpu> found) {
  std::set<std::string> seen;
  std::vector<Gpu> gpus;
  std::size_t too_many = 0;
  for (Gpu& gpu : found) {
    if (!seen.insert(gpu.info.uuid).second) {
      leave_out(gpu.info.uuid, "it is named twice");
    } else if (gpus.size() == wire::kMaxGpus) {
      ++too_many;
    } else {
      gpus.push_back(std::move(gpu));
    }
  }
  if (too_many > 0) {
    base::log().warn("{} GPUs are not offered: a node offers {} at most", too_many, wire::kMaxGpus);
  }
  return gpus;
}

// ---- a file ----

Result<std::vector<Gpu>> read_list(const std::string& path) {
  const auto text = read_file(path, kMaxListBytes);
  if (!text) {
    const int number = errno;
    return fail(ErrorKind::kInvalid,
                "--gpus is '" + path +
                    "', which is neither auto nor none nor a file that can be "
                    "read: " +
                    base::system_text(number),
                number);
  }
  if (text->size() > kMaxListBytes) {
    return fail(ErrorKind::kInvalid, "the list of GPUs '" + path + "' has more than " +
                                         std::to_string(kMaxListBytes) + " bytes");
  }
  return parse_gpu_list(*text, path);
}

// ---- what the environment leaves ----

std::optional<std::string> variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

bool has_numbers_alone(std::string_view list) {
  while (!list.empty()) {
    if (!is_number(next_part(list, ','))) return false;
  }
  return true;
}

/// As the makers' libraries read their variable: a word that names none ends the list. A number is
/// an index, a UUID may be cut short.
std::vector<Gpu> named_by(const std::string& list, const std::vector<Gpu>& gpus) {
  std::vector<Gpu> named;
  std::string_view rest = list;
  while (!rest.empty()) {
    const std::string_view word = next_part(rest, ',');
    const Gpu* match = nullptr;
    if (is_number(word)) {
      const auto index = number_in<std::size_t>(word);
      if (index && *index < gpus.size()) match = &gpus[*index];
    } else if (wire::is_gpu_uuid(word)) {
      for (const Gpu& gpu : gpus) {
        if (match == nullptr && gpu.info.uuid.starts_with(word)) match = &gpu;
      }
    }
    if (match != nullptr) {
      named.push_back(*match);
    } else if (wire::is_gpu_uuid(word) && word.starts_with("MIG-")) {
      named.push_back({{std::string(word), "", 0}, ""});  // a slice: the driver lists whole ones
    } else {
      break;
    }
  }
  return named;
}

std::vector<Gpu> left_by(const std::optional<std::string>& own,
                         const std::optional<std::string>& slurm, std::vector<Gpu> gpus) {
  // What a job may use has numbers of its own where Slurm hides the others from it; Slurm's own
  // numbers are those of the node. A list that is empty means none.
  if (own && (own->empty() || !has_numbers_alone(*own))) return named_by(*own, gpus);
  if (slurm) return named_by(*slurm, gpus);
  return own ? named_by(*own, gpus) : std::move(gpus);
}

}  // namespace

GpuVariables GpuVariables::get() {
  GpuVariables variables{variable("CUDA_VISIBLE_DEVICES"), variable("ROCR_VISIBLE_DEVICES"),
                         variable("SLURM_STEP_GPUS"), variable("SLURM_JOB_ID").has_value()};
  if (!variables.slurm) variables.slurm = variable("SLURM_JOB_GPUS");
  return variables;
}

Result<std::vector<Gpu>> parse_gpu_list(std::string_view text, const std::string& name) {
  std::vector<Gpu> gpus;
  std::set<std::string> seen;
  for (std::size_t number = 1; !text.empty(); ++number) {
    std::string_view line = next_part(text, '\n');
    line = trimmed(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    const auto wrong = [&](const std::string& what) {
      return fail(ErrorKind::kInvalid,
                  "the list of GPUs '" + name + "', line " + std::to_string(number) + ": " + what);
    };
    const std::string uuid(next_part(line, ','));
    if (!wire::is_gpu_uuid(uuid)) {
      return wrong("'" + base::printable(std::string_view(uuid).substr(0, wire::kMaxGpuUuid)) +
                   "' is no UUID of a GPU; " + wire::kGpuUuidForm);
    }
    if (!seen.insert(uuid).second) return wrong(uuid + " is there twice");
    if (gpus.size() == wire::kMaxGpus) {
      return wrong("a node offers " + std::to_string(wire::kMaxGpus) + " GPUs at most");
    }
    const std::string_view where = next_part(line, ',');
    Gpu gpu{{uuid, name_in(next_part(line, ',')), 0}, pci_address(where)};
    if (!where.empty() && gpu.pci_address.empty()) {
      return wrong("'" + base::printable(where) + "' is no PCI address, such as 0000:07:00.0");
    }
    const auto memory = memory_bytes(trimmed(line));
    if (!memory) {
      return wrong("'" + base::printable(line) + "' is no memory, such as 40960 MiB");
    }
    gpu.info.memory_bytes = *memory;
    gpus.push_back(std::move(gpu));
  }
  return gpus;
}

Result<std::vector<Gpu>> find_gpus(const std::string& choice, const GpuVariables& variables,
                                   const std::string& root) {
  std::vector<Gpu> all;
  if (choice == "none") return all;
  const bool own = choice == "auto";
  if (own) {
    const fs::path top = root.empty() ? fs::path("/") : fs::path(root);
    find_nvidia(top, all);
    find_amd(top, all);
    all = each_once(std::move(all));
    const bool given = variables.cuda || variables.rocr || variables.slurm;
    if (!all.empty() && variables.in_slurm_job && !given) {
      base::log().info(
          "the {} GPUs of this node are not offered: its Slurm job has been given none (--gres, "
          "--gpus); list them in a file (--gpus) where Slurm does not manage them",
          all.size());
      return std::vector<Gpu>();
    }
  } else {
    auto listed = read_list(choice);
    if (!listed) return listed;
    all = std::move(*listed);
  }
  std::vector<Gpu> nvidia;
  std::vector<Gpu> amd;
  for (Gpu& gpu : all) {
    (wire::is_amd_gpu(gpu.info.uuid) ? amd : nvidia).push_back(std::move(gpu));
  }
  std::vector<Gpu> gpus = left_by(variables.cuda, variables.slurm, std::move(nvidia));
  for (Gpu& gpu : left_by(variables.rocr, variables.slurm, std::move(amd))) {
    gpus.push_back(std::move(gpu));
  }
  return each_once(std::move(gpus));
}

}  // namespace sublet::manager
