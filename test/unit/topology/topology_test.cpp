#include "support/temp_directory.hpp"
#include <topology/topology.hpp>

#include <gtest/gtest.h>
#include <sched.h>

#include <fstream>
#include <thread>

namespace sublet::topology {
namespace {

/// A directory for one test, removed with it.
class TopologyFile : public testing::Test {
 protected:
  [[nodiscard]] std::string path() const { return directory_.path() + "/topology.xml"; }

  Topology saved_and_loaded(const std::string& description) {
    const auto saved = Topology::synthetic(description).value_or_throw().save_xml(path());
    if (!saved) throw Error(saved.error());
    return Topology::load_xml(path()).value_or_throw();
  }

 private:
  const test::TempDirectory directory_;
};

TEST_F(TopologyFile, ListsCoresWithTheirThreads) {
  const Topology topology = saved_and_loaded("package:2 core:4 pu:2");
  ASSERT_EQ(topology.cores().size(), 8u);
  EXPECT_EQ(topology.cores()[0].cpuset.to_list(), "0-1");
  EXPECT_EQ(topology.cores()[7].cpuset.to_list(), "14-15");
  EXPECT_EQ(topology.cores()[7].index, 7u);
  EXPECT_EQ(topology.cpuset().to_list(), "0-15");
  EXPECT_GT(topology.total_memory_bytes(), 0u);
}

TEST_F(TopologyFile, TellsCoresThatShareTheirLastCache) {
  const Topology two = saved_and_loaded("numa:1 l3:2 core:2 pu:1");
  EXPECT_EQ(two.cores()[0].cache, two.cores()[1].cache);
  EXPECT_NE(two.cores()[1].cache, two.cores()[2].cache);
  EXPECT_EQ(two.cores()[2].numa_node, two.cores()[1].numa_node);
  const Topology none = saved_and_loaded("numa:2 core:2 pu:1");
  EXPECT_EQ(none.cores()[0].cache, none.cores()[1].cache);
  EXPECT_NE(none.cores()[1].cache, none.cores()[2].cache);
}

TEST_F(TopologyFile, RestrictsByListAndByMask) {
  for (const char* text : {"0,4-7", "0x000000f1"}) {
    Topology topology = saved_and_loaded("package:2 core:4 pu:2");
    ASSERT_TRUE(topology.restrict_to(text));
    ASSERT_EQ(topology.cores().size(), 3u) << text;
    EXPECT_EQ(topology.cores()[0].cpuset.to_list(), "0");  // half of core 0
    EXPECT_EQ(topology.cores()[1].cpuset.to_list(), "4-5");
    EXPECT_EQ(topology.cores()[1].index, 2u);
    EXPECT_EQ(topology.cpuset().to_list(), "0,4-7");
  }
}

TEST_F(TopologyFile, RestrictsToTheFirstCores) {
  Topology topology = saved_and_loaded("package:2 core:4 pu:2");
  ASSERT_TRUE(topology.restrict_to("6-15"));
  ASSERT_TRUE(topology.restrict_to_first(2));
  EXPECT_EQ(topology.cpuset().to_list(), "6-9");
  EXPECT_EQ(topology.cores().size(), 2u);
}

TEST_F(TopologyFile, RefusesWhatLeavesNothing) {
  Topology topology = saved_and_loaded("package:1 core:2 pu:1");
  const auto outside = topology.restrict_to("5-9");
  ASSERT_FALSE(outside);
  EXPECT_EQ(std::string(outside.error().what()),
            "none of the cores '5-9' may be used here; usable are 0-1");
  const auto in_part = topology.restrict_to("1-3,6");
  ASSERT_FALSE(in_part);
  EXPECT_EQ(std::string(in_part.error().what()),
            "of the cores '1-3,6' 2-3,6 are not there or may not be used here; usable are 0-1");
  EXPECT_FALSE(topology.restrict_to("0x0"));
  EXPECT_FALSE(topology.restrict_to("all"));
  const auto many = topology.restrict_to_first(3);
  ASSERT_FALSE(many);
  EXPECT_EQ(std::string(many.error().what()), "3 cores were asked for; 1 to 2 can be had (0-1)");
  EXPECT_FALSE(topology.restrict_to_first(0));
  EXPECT_EQ(topology.cores().size(), 2u);  // a refusal changes nothing
}

TEST_F(TopologyFile, TakesWhatThereIsOfASetWithoutEnd) {
  Topology topology = saved_and_loaded("package:1 core:4 pu:1");
  ASSERT_TRUE(topology.restrict_to("2-"));
  EXPECT_EQ(topology.cpuset().to_list(), "2-3");
  EXPECT_FALSE(topology.restrict_to("4-"));
}

TEST_F(TopologyFile, FindsTheNearestNumaNode) {
  const Topology two = saved_and_loaded("package:2 [numa(memory=2GB)] core:2 pu:2");
  ASSERT_EQ(two.numa_nodes().size(), 2u);
  EXPECT_EQ(two.numa_nodes()[1].cpuset.to_list(), "4-7");
  EXPECT_EQ(two.numa_nodes()[1].memory_bytes, 2'000'000'000u);
  EXPECT_EQ(two.cores()[0].numa_node, two.numa_nodes()[0].index);
  EXPECT_EQ(two.cores()[3].numa_node, two.numa_nodes()[1].index);
  EXPECT_EQ(two.nearest_numa_node(*Cpuset::parse("3,4-7")), two.numa_nodes()[1].index);
  EXPECT_EQ(two.nearest_numa_node(*Cpuset::parse("100-")), two.numa_nodes()[0].index);
}

TEST(TopologyWithDevices, KnowsWhichCoresADeviceIsNearest) {
  const auto machine = Topology::load_xml(MACHINE_WITH_GPUS, Devices::kPci).value_or_throw();
  EXPECT_EQ(machine.near_pci_device("0000:07:00.0").to_list(), "0-3");
  EXPECT_EQ(machine.near_pci_device("0000:0f:00.0").to_list(), "0-3");
  EXPECT_EQ(machine.near_pci_device("0000:87:00.0").to_list(), "4-7");
  EXPECT_TRUE(machine.near_pci_device("0000:08:00.0").empty()) << "there is none";
  EXPECT_TRUE(machine.near_pci_device("").empty());
  EXPECT_TRUE(machine.near_pci_device("GPU-1").empty());
  EXPECT_EQ(machine.cores().size(), 8u) << "devices are no cores";
  const auto without = Topology::load_xml(MACHINE_WITH_GPUS).value_or_throw();
  EXPECT_TRUE(without.near_pci_device("0000:07:00.0").empty());
}

TEST_F(TopologyFile, RefusesFilesThatAreNoTopology) {
  EXPECT_FALSE(Topology::load_xml(path()));
  std::ofstream(path()) << "<topology version=\"9.0\"><obj";
  const auto broken = Topology::load_xml(path());
  ASSERT_FALSE(broken);
  EXPECT_NE(std::string(broken.error().what()).find(path()), std::string::npos);
  EXPECT_FALSE(Topology::synthetic("nonsense:x"));
}

TEST_F(TopologyFile, DoesNotBindToAnotherMachinesTopology) {
  const Topology topology = saved_and_loaded("package:1 core:1 pu:1");
  const auto bound = topology.bind_this_thread(*Cpuset::parse("0"));
  ASSERT_FALSE(bound);
  EXPECT_EQ(bound.error().kind(), ErrorKind::kUnsupported);
}

TEST(LiveTopology, OffersWhatTheAffinityAllows) {
  // In a thread of its own: the affinity of this one stays as it is.
  std::thread([] {
    const auto all = Topology::load();
    ASSERT_TRUE(all) << all.error().what();
    ASSERT_FALSE(all->cores().empty());
    EXPECT_GT(all->total_memory_bytes(), 0u);
    cpu_set_t mine;
    ASSERT_EQ(::sched_getaffinity(0, sizeof(mine), &mine), 0);
    EXPECT_EQ(all->cpuset().count(), static_cast<std::size_t>(CPU_COUNT(&mine)));
  }).join();
}

TEST(LiveTopology, BindsAThreadToOneCore) {
  const auto topology = Topology::load();
  ASSERT_TRUE(topology);
  for (const Core& core : topology->cores()) {
    std::thread([&] {
      const auto bound = topology->bind_this_thread(core.cpuset);
      ASSERT_TRUE(bound) << bound.error().what();
      cpu_set_t mine;
      ASSERT_EQ(::sched_getaffinity(0, sizeof(mine), &mine), 0);
      EXPECT_EQ(static_cast<std::size_t>(CPU_COUNT(&mine)), core.cpuset.count());
      EXPECT_TRUE(core.cpuset.contains(*Cpuset::parse(std::to_string(::sched_getcpu()))));
    }).join();
  }
  const auto absent = topology->bind_this_thread(*Cpuset::parse("65000"));
  ASSERT_FALSE(absent);
  EXPECT_NE(std::string(absent.error().what()).find("65000"), std::string::npos);
}

}  // namespace
}  // namespace sublet::topology
