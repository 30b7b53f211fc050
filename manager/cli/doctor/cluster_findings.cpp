#include <base/printable_text.hpp>
#include <cli/doctor/cluster_findings.hpp>
#include <common/program_answer.hpp>
#include <wire/munge.hpp>

#include <sodium/randombytes.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <sstream>

namespace sublet::cli {
namespace {

constexpr std::chrono::seconds kScontrol{10};
constexpr const char* kPreemption = "Slurm's preemption";
constexpr const char* kHowTo = "see \"Run on a Slurm cluster\" (docs/how-to/slurm.md)";

/// By making a credential and reading it: what two nodes do, here by the one munged.
Finding munge() {
  if (auto there = wire::munge_available(); !there) {
    return {Grade::kAbsent, "MUNGE", there.error().what(),
            "needed where managers and clients on a network have no key file in common"};
  }
  const std::string advice =
      "'systemctl status munge', and compare the clocks and /etc/munge/munge.key of the nodes";
  std::array<unsigned char, 16> payload{};
  ::randombytes_buf(payload.data(), payload.size());
  const auto credential = wire::munge_encode(payload);
  if (!credential) {
    return {Grade::kFault, "MUNGE", credential.error().what(), "a munged that answers", advice};
  }
  const auto user = wire::munge_decode(*credential, payload);
  if (!user) return {Grade::kFault, "MUNGE", user.error().what(), "a munged that answers", advice};
  if (user->uid == ::geteuid()) {
    return {Grade::kOk, "MUNGE",
            "munged has made and read a credential of uid " + std::to_string(user->uid)};
  }
  return {
      Grade::kFault, "MUNGE",
      "munged takes uid " + std::to_string(::geteuid()) + " for uid " + std::to_string(user->uid),
      "a credential of this process's own user", "run in munged's user namespace"};
}

std::string trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(" \t\r") - first + 1));
}

/// Of one line of `scontrol -o show partition`.
std::map<std::string, std::string> read_partition(const std::string& line) {
  std::map<std::string, std::string> values;
  std::istringstream words(line);
  for (std::string word; words >> word;) {
    const std::size_t equals = word.find('=');
    if (equals != std::string::npos) values[word.substr(0, equals)] = word.substr(equals + 1);
  }
  return values;
}

/// "PreemptMode" of the cluster may name several.
bool has_word(const std::string& list, const std::string& word) {
  std::istringstream words(list);
  for (std::string each; std::getline(words, each, ',');) {
    if (each == word) return true;
  }
  return false;
}

Findings slurm() {
  const auto config = manager::ask_program({"scontrol", "show", "config"}, kScontrol);
  if (!config) {
    const bool missing = config.error().kind() == ErrorKind::kUnsupported;
    return {{missing ? Grade::kAbsent : Grade::kNote, "Slurm",
             missing ? "no scontrol in PATH" : config.error().what(),
             missing ? "" : "a slurmctld that answers",
             missing ? "" : "'scontrol ping', and look whether slurmctld runs"}};
  }
  if (!config->ended_well) {
    return {{Grade::kNote, "Slurm",
             base::printable(config->output.substr(0, config->output.find('\n'))),
             "a slurmctld that answers", "'scontrol ping', and look whether slurmctld runs"}};
  }
  const auto values = read_slurm_config(config->output);
  const auto version = values.find("SLURM_VERSION");
  Findings findings{{Grade::kOk, "Slurm",
                     "answers, version " + (version == values.end() ? "?" : version->second)}};
  const auto partitions = manager::ask_program({"scontrol", "-o", "show", "partition"}, kScontrol);
  if (!partitions) {
    findings.push_back({Grade::kNote, kPreemption, partitions.error().what()});
    return findings;
  }
  for (Finding& finding : preemption_findings(values, partitions->output)) {
    findings.push_back(std::move(finding));
  }
  return findings;
}

/// Slurm sets the variable for a job's steps; the network card takes no traffic without.
Finding slingshot() {
  const char* const vnis = std::getenv("SLINGSHOT_VNIS");
  if (vnis != nullptr && *vnis != '\0') return {Grade::kOk, "SLINGSHOT_VNIS", vnis};
  std::error_code ignored;
  if (!std::filesystem::exists("/sys/class/cxi", ignored)) {
    return {Grade::kAbsent, "SLINGSHOT_VNIS", "not set, and no Slingshot device here"};
  }
  return {
      Grade::kFault, "SLINGSHOT_VNIS", "not set, and there is a Slingshot device",
      "the VNIs of a job: without one the network takes no traffic of this process",
      "start it in a step of a Slurm job (srun), with SwitchType=switch/hpe_slingshot; for calls "
      "between jobs with --network=job_vni"};
}

}  // namespace

std::map<std::string, std::string> read_slurm_config(std::string_view text) {
  std::map<std::string, std::string> values;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t equals = line.find(" = ");
    if (equals == std::string_view::npos) continue;
    values.emplace(trimmed(line.substr(0, equals)), trimmed(line.substr(equals + 3)));
  }
  return values;
}

Findings preemption_findings(const std::map<std::string, std::string>& config,
                             std::string_view partitions) {
  const auto value = [&config](const char* key) {
    const auto found = config.find(key);
    return found == config.end() ? std::string("?") : found->second;
  };
  Findings findings;
  const auto note = [&findings](const char* wanted) {
    findings.back().grade = Grade::kNote;
    findings.back().wanted = wanted;
    findings.back().advice = kHowTo;
  };
  const std::string type = value("PreemptType");
  const bool on = type == "preempt/partition_prio" && !has_word(value("PreemptMode"), "OFF");
  findings.push_back(
      {Grade::kOk, kPreemption, "PreemptType=" + type + " PreemptMode=" + value("PreemptMode")});
  if (!on) {
    note(
        "PreemptType=preempt/partition_prio PreemptMode=REQUEUE: jobs then take nodes back from "
        "executor managers");
    return findings;
  }
  const std::string parameters = value("SlurmctldParameters");
  findings.push_back({Grade::kOk, "its signal", "SlurmctldParameters=" + parameters});
  if (!has_word(parameters, "preempt_send_user_signal")) {
    note("preempt_send_user_signal: executor managers are told when the grace time begins");
  }
  std::istringstream lines{std::string(partitions)};
  std::size_t good = 0;
  std::string seen;
  for (std::string line; std::getline(lines, line);) {
    auto partition = read_partition(line);
    const std::string& name = partition["PartitionName"];
    if (name.empty()) continue;
    const std::string& mode = partition["PreemptMode"];
    const std::string& grace = partition["GraceTime"];
    if (mode == "CANCEL" && !grace.empty() && grace != "0") ++good;
    seen +=
        (seen.empty() ? "" : ", ") + name + " (PreemptMode=" + mode + " GraceTime=" + grace + ")";
  }
  findings.push_back({Grade::kOk, "partitions to harvest from", seen});
  if (good == 0) {
    note(
        "a partition with PreemptMode=CANCEL GraceTime=10: else calls under way are lost when a "
        "node is taken back");
  }
  return findings;
}

Findings cluster_findings() {
  Findings findings{munge()};
  for (Finding& finding : slurm()) findings.push_back(std::move(finding));
  findings.push_back(slingshot());
  return findings;
}

}  // namespace sublet::cli
