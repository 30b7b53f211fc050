#include <cli/doctor/cluster_findings.hpp>

#include <gtest/gtest.h>

#include <string>

namespace sublet::cli {
namespace {

/// As Slurm 22.05 prints it, shortened.
std::string config_text(const std::string& type, const std::string& mode,
                        const std::string& parameters) {
  return "Configuration data as of 2026-12-01T10:00:00\n"
         "AccountingStorageBackupHost = (null)\n"
         "PreemptMode             = " +
         mode +
         "\n"
         "PreemptType             = " +
         type +
         "\n"
         "PreemptExemptTime       = 00:00:00\n"
         "SLURM_VERSION           = 22.05.8\n"
         "SlurmctldParameters     = " +
         parameters +
         "\n"
         "\n"
         "Slurmctld(primary) at head is UP\n";
}

std::string partition(const std::string& name, const std::string& mode, const std::string& grace) {
  return "PartitionName=" + name +
         " AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL GraceTime=" + grace +
         " Hidden=NO MaxTime=UNLIMITED PreemptMode=" + mode + " State=UP\n";
}

Findings findings_of(const std::string& config, const std::string& partitions) {
  return preemption_findings(read_slurm_config(config), partitions);
}

TEST(SlurmConfig, IsReadLineByLine) {
  const auto values = read_slurm_config(
      config_text("preempt/partition_prio", "REQUEUE", "preempt_send_user_signal"));
  EXPECT_EQ(values.at("PreemptMode"), "REQUEUE");
  EXPECT_EQ(values.at("SLURM_VERSION"), "22.05.8");
  EXPECT_EQ(values.count("Slurmctld(primary) at head is UP"), 0U);
  EXPECT_TRUE(read_slurm_config("").empty());
  EXPECT_TRUE(read_slurm_config("\n = \n=").contains(""));
}

TEST(Preemption, IsGoodAsTheDocumentationSetsIt) {
  const auto findings =
      findings_of(config_text("preempt/partition_prio", "REQUEUE",
                              "enable_configless,preempt_send_user_signal"),
                  partition("normal", "OFF", "0") + partition("harvest", "CANCEL", "10"));
  for (const Finding& finding : findings) EXPECT_EQ(finding.grade, Grade::kOk) << finding.what;
}

TEST(Preemption, EachThingThatIsMissingIsNamed) {
  const std::string harvest = partition("harvest", "CANCEL", "10");
  const auto off = findings_of(config_text("preempt/none", "OFF", "(null)"), harvest);
  ASSERT_EQ(off.size(), 1U);
  EXPECT_EQ(off.front().grade, Grade::kNote);
  EXPECT_NE(off.front().wanted.find("preempt/partition_prio"), std::string::npos);
  const auto silent =
      findings_of(config_text("preempt/partition_prio", "REQUEUE", "(null)"), harvest);
  ASSERT_EQ(silent.size(), 3U);
  EXPECT_EQ(silent[1].grade, Grade::kNote);
  EXPECT_NE(silent[1].wanted.find("preempt_send_user_signal"), std::string::npos);
  const std::string signal = "preempt_send_user_signal";
  for (const std::string& partitions :
       {partition("harvest", "CANCEL", "0"), partition("harvest", "REQUEUE", "10"),
        std::string("nothing\n"), std::string()}) {
    const auto graceless =
        findings_of(config_text("preempt/partition_prio", "REQUEUE", signal), partitions);
    ASSERT_EQ(graceless.size(), 3U);
    EXPECT_EQ(graceless[2].grade, Grade::kNote) << partitions;
  }
}

}  // namespace
}  // namespace sublet::cli
