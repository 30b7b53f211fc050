#include <common/views.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace sublet::manager {
namespace {

using nlohmann::json;

TEST(Views, NodesAsJson) {
  NodeInfo info;
  info.name = "c1";
  info.node_id = "boot/c1";
  info.cores = 8;
  info.free_cores = 3;
  info.widest_worker = 4;
  info.memory_bytes = 1024;
  info.free_memory_bytes = 512;
  info.gpus = {{"GPU-a", "A100", 40}, {"GPU-b"}};
  info.free_gpus = 1;
  info.warm_executors = 3;
  info.cpuset = "0-7";
  info.addresses = {"unix:@c1", "tcp:c1:7"};
  info.state = "draining";
  info.heartbeat_age = std::chrono::milliseconds(250);
  info.clock_ahead = std::chrono::milliseconds(-3);
  info.clock_error = std::chrono::milliseconds(1);
  const auto parsed = json::parse(to_json(std::span(&info, 1)));
  EXPECT_EQ(parsed, (json{{"nodes",
                           {{{"name", "c1"},
                             {"node_id", "boot/c1"},
                             {"state", "draining"},
                             {"cores", 8},
                             {"free_cores", 3},
                             {"widest_worker", 4},
                             {"memory_bytes", 1024},
                             {"free_memory_bytes", 512},
                             {"gpus",
                              {{{"uuid", "GPU-a"}, {"name", "A100"}, {"memory_bytes", 40}},
                               {{"uuid", "GPU-b"}, {"name", ""}, {"memory_bytes", 0}}}},
                             {"free_gpus", 1},
                             {"warm_executors", 3},
                             {"cpuset", "0-7"},
                             {"addresses", {"unix:@c1", "tcp:c1:7"}},
                             {"heartbeat_age_ms", 250},
                             {"clock_ahead_ms", -3},
                             {"clock_error_ms", 1}}}}}));
}

TEST(Views, LeasesAsJson) {
  LeaseInfo info;
  info.id = 17;
  info.state = "active";
  info.owner = "someone@here";
  info.cores = 2;
  info.gpus = 4;
  info.nodes = {"c1"};
  info.expires_unix_ms = 1'700'000'000'000;
  info.usage = {1, 2, 3, 4, 5, 6.5, 13};
  info.uid = 1000;
  info.slurm_job = 7;
  info.priority = -3;
  info.notice = std::chrono::seconds(30);
  info.reason = "why";
  info.waited = std::chrono::seconds(2);
  info.place = 4;
  const auto parsed = json::parse(to_json(std::span(&info, 1)));
  EXPECT_EQ(parsed, (json{{"leases",
                           {{{"id", 17},
                             {"state", "active"},
                             {"owner", "someone@here"},
                             {"cores", 2},
                             {"gpus", 4},
                             {"nodes", {"c1"}},
                             {"expires_unix_ms", 1'700'000'000'000},
                             {"uid", 1000},
                             {"slurm_job", 7},
                             {"priority", -3},
                             {"notice_ms", 30'000},
                             {"reason", "why"},
                             {"waited_ms", 2000},
                             {"place", 4},
                             {"usage",
                              {{"invocations", 1},
                               {"compute_ns", 2},
                               {"hot_poll_ns", 3},
                               {"bytes_in", 4},
                               {"bytes_out", 5},
                               {"core_seconds", 6.5},
                               {"gpu_seconds", 13.0}}}}}}}));
}

TEST(Views, QuotasAsJson) {
  std::vector<wire::QuotaInfo> infos(2);
  infos[0].everybody = true;
  infos[0].quota.cores = 8;
  infos[1].uid = 1000;
  infos[1].user = "alice";
  infos[1].own = true;
  infos[1].held_cores = 3;
  const auto parsed = json::parse(to_json(infos));
  EXPECT_EQ(parsed["quotas"][0]["cores"], 8);
  EXPECT_EQ(parsed["quotas"][0]["uid"], json());
  EXPECT_EQ(parsed["quotas"][0]["core_seconds_a_day"], json());
  EXPECT_EQ(parsed["quotas"][1]["uid"], 1000);
  EXPECT_EQ(parsed["quotas"][1]["held_cores"], 3);
}

TEST(Views, NoneAreAnEmptyList) {
  EXPECT_EQ(json::parse(to_json(std::span<const NodeInfo>())), (json{{"nodes", json::array()}}));
}

TEST(Views, AnOwnerThatIsNoUtf8SpoilsNothing) {
  std::vector<LeaseInfo> infos(2);
  infos[0].owner = "bad \xff\xc3";
  infos[1].owner = "good";
  const auto parsed = json::parse(to_json(infos));
  EXPECT_EQ(parsed["leases"][1]["owner"], "good");
}

}  // namespace
}  // namespace sublet::manager
