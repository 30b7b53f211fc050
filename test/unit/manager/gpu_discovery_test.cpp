// Which GPUs a node offers, from listings of drivers and of operators that this test makes up.

#include "support/temp_directory.hpp"
#include <executor_manager/gpu_discovery.hpp>
#include <executor_manager/node_setup.hpp>
#include <topology/topology.hpp>
#include <wire/limits.hpp>

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

namespace sublet::manager {
namespace {

constexpr const char* kFirst = "GPU-11111111-aaaa-bbbb-cccc-000000000001";
constexpr const char* kSecond = "GPU-22222222-aaaa-bbbb-cccc-000000000002";
constexpr const char* kThird = "GPU-33333333-aaaa-bbbb-cccc-000000000003";
constexpr const char* kAmd = "GPU-4f1a0c2d3e4b5a69";

using Strings = std::vector<std::string>;

class GpuDiscovery : public testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = directory_.path() + "/" + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  void nvidia(const std::string& address, const std::string& uuid, const std::string& more = {}) {
    write("proc/driver/nvidia/gpus/" + address + "/information",
          "Model: \t\t NVIDIA A100-SXM4-40GB\nIRQ:   \t\t 302\nGPU UUID: \t " + uuid +
              "\nVideo BIOS: \t 92.00.19.00.10\nBus Type: \t PCIe\nBus Location: \t " + address +
              "\nDevice Minor: \t 0\n" + more);
  }
  void amd(unsigned node, const std::string& properties) {
    const std::string directory = "sys/class/kfd/kfd/topology/nodes/" + std::to_string(node) + "/";
    write(directory + "properties", properties);
    write(directory + "name", "aldebaran\n");
    write(directory + "mem_banks/0/properties", "heap_type 1\nsize_in_bytes 68702699520\n");
  }

  [[nodiscard]] std::vector<Gpu> find(const GpuVariables& variables = {}) const {
    return find_gpus("auto", variables, directory_.path()).value_or_throw();
  }
  [[nodiscard]] Strings found(const GpuVariables& variables = {}) const {
    Strings uuids;
    for (const Gpu& gpu : find(variables)) uuids.push_back(gpu.info.uuid);
    return uuids;
  }
  /// Three of NVIDIA's.
  void three() {
    nvidia("0000:90:00.0", kThird);
    nvidia("0000:07:00.0", kFirst);
    nvidia("0000:0f:00.0", kSecond);
  }

  const test::TempDirectory directory_;
};

TEST_F(GpuDiscovery, FindsNoneWhereThereIsNoDriver) {
  EXPECT_EQ(found(), Strings{});
}

TEST_F(GpuDiscovery, ReadsWhatNvidiasDriverSays) {
  three();
  EXPECT_EQ(found(), (Strings{kFirst, kSecond, kThird})) << "in the order of their addresses";
  const Gpu gpu = find().front();
  EXPECT_EQ(gpu.info.name, "NVIDIA A100-SXM4-40GB");
  EXPECT_EQ(gpu.pci_address, "0000:07:00.0");
}

TEST_F(GpuDiscovery, ReadsWhatAmdsDriverSays) {
  amd(0, "cpu_cores_count 64\nsimd_count 0\nunique_id 0\n");
  // 5699881666848971369 is 0x4f1a0c2d3e4b5a69; bus 0xc1.
  amd(2, "simd_count 440\nunique_id 5699881666848971369\nlocation_id 49408\ndomain 0\n");
  amd(10, "simd_count 440\nunique_id 255\nlocation_id 51456\ndomain 1\n");
  EXPECT_EQ(found(), (Strings{kAmd, "GPU-00000000000000ff"})) << "2 comes before 10";
  const std::vector<Gpu> gpus = find();
  EXPECT_EQ(gpus[0].info.name, "aldebaran");
  EXPECT_EQ(gpus[0].info.memory_bytes, 68'702'699'520u);
  EXPECT_EQ(gpus[0].pci_address, "0000:c1:00.0");
  EXPECT_EQ(gpus[1].pci_address, "0001:c9:00.0");
}

TEST_F(GpuDiscovery, LeavesOutWhatCannotBeUsed) {
  nvidia("0000:07:00.0", "GPU-" + std::string(32, '?'));  // not yet initialised
  nvidia("0000:0f:00.0", kSecond, "GPU Excluded:\t Yes\n");
  nvidia("0000:87:00.0", "GPU-a,GPU-b");
  nvidia("0000:88:00.0", kThird);
  nvidia("0000:89:00.0", kThird);  // once more
  write("proc/driver/nvidia/gpus/0000:90:00.0/power", "no information here");
  amd(1, "simd_count 60\nunique_id 0\n");
  amd(2, "simd_count 60\nunique_id 99999999999999999999999\n");
  EXPECT_EQ(found(), Strings{kThird});
}

/// Whatever a driver says, it is bounded, and the node starts.
TEST_F(GpuDiscovery, SurvivesHostileListings) {
  std::mt19937 random(4711);
  std::string noise(100'000, '\0');
  for (char& c : noise) c = static_cast<char>(random());
  nvidia("0000:07:00.0", noise);
  write("proc/driver/nvidia/gpus/x\ny/information", noise);
  write("sys/class/kfd/kfd/topology/nodes/3/properties", noise);
  write("sys/class/kfd/kfd/topology/nodes/-1/properties", "simd_count 1\nunique_id 7\n");
  for (int i = 0; i < 100; ++i) {
    nvidia("0001:" + std::to_string(100 + i), "GPU-" + std::to_string(1000 + i));
  }
  EXPECT_EQ(found().size(), wire::kMaxGpus);
}

TEST_F(GpuDiscovery, OffersWhatTheEnvironmentLeaves) {
  three();
  using V = GpuVariables;
  EXPECT_EQ(found(V{.cuda = "1"}), Strings{kSecond});
  EXPECT_EQ(found(V{.cuda = "2, 0"}), (Strings{kThird, kFirst}));
  EXPECT_EQ(found(V{.cuda = kSecond}), Strings{kSecond});
  EXPECT_EQ(found(V{.cuda = "GPU-33333333"}), Strings{kThird}) << "cut short";
  EXPECT_EQ(found(V{.cuda = ""}), Strings{});
  EXPECT_EQ(found(V{.cuda = "NoDevFiles"}), Strings{});
  EXPECT_EQ(found(V{.cuda = "0,-1,1"}), Strings{kFirst}) << "CUDA stops at what names none";
  EXPECT_EQ(found(V{.cuda = "0,7,1"}), Strings{kFirst});
  EXPECT_EQ(found(V{.cuda = "1,1"}), Strings{kSecond});
  EXPECT_EQ(found(V{.rocr = "0"}), (Strings{kFirst, kSecond, kThird})) << "not theirs";
  EXPECT_EQ(found(V{.cuda = "MIG-0b1c"}), Strings{"MIG-0b1c"}) << "a slice of one";
}

TEST_F(GpuDiscovery, OffersWhatSlurmHasGivenItsJob) {
  three();
  using V = GpuVariables;
  EXPECT_EQ(found(V{.slurm = "1,2", .in_slurm_job = true}), (Strings{kSecond, kThird}));
  // The job's own numbers begin at 0, whichever those of the node are.
  EXPECT_EQ(found(V{.cuda = "0", .slurm = "2", .in_slurm_job = true}), Strings{kThird});
  EXPECT_EQ(found(V{.cuda = kFirst, .slurm = "0,1", .in_slurm_job = true}), Strings{kFirst});
  EXPECT_EQ(found(V{.cuda = "", .slurm = "2", .in_slurm_job = true}), Strings{});
  EXPECT_EQ(found(V{.in_slurm_job = true}), Strings{}) << "they are another job's";
}

TEST_F(GpuDiscovery, ReadsItsOwnEnvironment) {
  ::setenv("CUDA_VISIBLE_DEVICES", "1", 1);
  ::setenv("SLURM_JOB_ID", "7", 1);
  ::setenv("SLURM_JOB_GPUS", "4,5", 1);
  ::unsetenv("ROCR_VISIBLE_DEVICES");
  GpuVariables variables = GpuVariables::get();
  EXPECT_EQ(variables.cuda, "1");
  EXPECT_FALSE(variables.rocr);
  EXPECT_EQ(variables.slurm, "4,5");
  EXPECT_TRUE(variables.in_slurm_job);
  ::setenv("SLURM_STEP_GPUS", "5", 1);
  EXPECT_EQ(GpuVariables::get().slurm, "5") << "the step's, which is a part of the job's";
  for (const char* name :
       {"CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS"}) {
    ::unsetenv(name);
  }
}

TEST_F(GpuDiscovery, TakesAnOperatorsListInPlaceOfTheDrivers) {
  three();
  write("list", std::string("# as nvidia-smi writes it\n") + kSecond +
                    ", 00000000:0F:00.0, NVIDIA A100-SXM4-40GB, 40960 MiB\r\n\n" + kAmd +
                    ",,,[N/A] # in no order\n");
  const auto listed = find_gpus(directory_.path() + "/list", {}, directory_.path());
  ASSERT_TRUE(listed) << listed.error().what();
  ASSERT_EQ(listed->size(), 2u);
  EXPECT_EQ(listed->at(0).info,
            (GpuInfo{kSecond, "NVIDIA A100-SXM4-40GB", std::uint64_t{40960} << 20}));
  EXPECT_EQ(listed->at(0).pci_address, "0000:0f:00.0");
  EXPECT_EQ(listed->at(1).info, (GpuInfo{kAmd, "", 0}));
  const auto left = find_gpus(directory_.path() + "/list", {.cuda = "", .in_slurm_job = true});
  ASSERT_TRUE(left);
  ASSERT_EQ(left->size(), 1u) << "the environment counts all the same";
  EXPECT_EQ(left->at(0).info.uuid, kAmd);
  EXPECT_EQ(find_gpus("none", {}, directory_.path())->size(), 0u);
}

TEST_F(GpuDiscovery, SaysWhatIsWrongWithAList) {
  const auto error = [](const std::string& text) {
    const auto parsed = parse_gpu_list(text, "list");
    return parsed ? std::string("nothing") : std::string(parsed.error().what());
  };
  const std::string uuid = kFirst;
  EXPECT_EQ(error("\n0, 0000:07:00.0\n"),
            "the list of GPUs 'list', line 2: '0' is no UUID of a GPU; it begins with GPU- or MIG- "
            "and has at most 63 letters, digits, - and /");
  EXPECT_EQ(error(uuid + ", 7\n"),
            "the list of GPUs 'list', line 1: '7' is no PCI address, such as 0000:07:00.0");
  EXPECT_EQ(error(uuid + ",,,40 GB"),
            "the list of GPUs 'list', line 1: '40 GB' is no memory, such as 40960 MiB");
  EXPECT_EQ(error(uuid + "\n" + uuid),
            "the list of GPUs 'list', line 2: " + uuid + " is there twice");
  std::string many;
  for (unsigned i = 0; i <= wire::kMaxGpus; ++i) many += "GPU-" + std::to_string(i) + "\n";
  EXPECT_EQ(error(many), "the list of GPUs 'list', line 65: a node offers 64 GPUs at most");
  EXPECT_NE(error("GPU-\x1b[31m").find("no UUID"), std::string::npos);
  EXPECT_EQ(error("GPU-\x1b[31m").find('\x1b'), std::string::npos) << "nothing is sent raw";

  write("long", std::string(kMaxListBytes + 1, '#'));
  const auto too_long = find_gpus(directory_.path() + "/long", {});
  ASSERT_FALSE(too_long);
  EXPECT_NE(std::string(too_long.error().what()).find("more than 65536 bytes"), std::string::npos);
  const auto missing = find_gpus(directory_.path() + "/missing", {});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind(), ErrorKind::kInvalid);
  EXPECT_NE(std::string(missing.error().what()).find("neither auto nor none nor a file"),
            std::string::npos)
      << missing.error().what();
}

TEST_F(GpuDiscovery, KnowsTheCoresNearEachByItsPciAddress) {
  auto machine =
      topology::Topology::load_xml(MACHINE_WITH_GPUS, topology::Devices::kPci).value_or_throw();
  ASSERT_TRUE(machine.restrict_to("2-7"));
  Strings cpusets;
  for (const topology::Core& core : machine.cores()) cpusets.push_back(core.cpuset.to_list());
  const auto placed = place_gpus({{{kFirst}, "0000:07:00.0"},
                                  {{kThird}, "0000:87:00.0"},
                                  {{kAmd}, "0000:90:00.0"},
                                  {{kSecond}, "0000:33:00.0"},
                                  {{"GPU-x"}, ""}},
                                 machine, cpusets);
  ASSERT_EQ(placed.size(), 5u);
  EXPECT_EQ(placed[0].info.uuid, kFirst);
  EXPECT_EQ(placed[0].near, (std::vector<std::uint32_t>{0, 1})) << "of what is offered";
  EXPECT_EQ(placed[1].near, (std::vector<std::uint32_t>{2, 3, 4, 5}));
  EXPECT_EQ(placed[2].near, placed[1].near);
  EXPECT_TRUE(placed[3].near.empty()) << "there is no such device";
  EXPECT_TRUE(placed[4].near.empty());

  CoreInventory::Offer offer;
  offer.cpusets = cpusets;
  offer.gpus = placed;
  CoreInventory inventory(std::move(offer));
  std::vector<CoreInventory::Reservation> kept;
  std::vector<std::string> seen;
  for (int i = 0; i < 3; ++i) {
    kept.push_back(inventory.reserve({1, 2, 1, 0}).value_or_throw());
    seen.push_back(inventory.gpus(kept.back()).front() + " " +
                   inventory.cpusets(kept.back()).front());
  }
  EXPECT_EQ(seen, (Strings{std::string(kFirst) + " 2-3", std::string(kThird) + " 4-5",
                           std::string(kAmd) + " 6-7"}));
}

}  // namespace
}  // namespace sublet::manager
