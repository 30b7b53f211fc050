#include "blocking_suite.hpp"
#include "calls_suite.hpp"
#include "deaths_suite.hpp"
#include "fabric_transport.hpp"
#include "faults_suite.hpp"
#include "payloads_suite.hpp"
#include "setup_suite.hpp"
#include "wakeups_suite.hpp"

namespace sublet::conformance {
namespace {

using Tcp = FabricTransport<FabricTcp>;
using LittleRegistered = FabricTransport<FabricLittleRegistered>;
using Connectionless = FabricTransport<FabricConnectionless>;
static_assert(TransportUnderTest<Tcp>);

using Transports = ::testing::Types<Tcp, LittleRegistered, Connectionless>;

struct Names {
  template <class T>
  static std::string GetName(int) {
    if (std::is_same_v<T, Tcp>) return "Tcp";
    return std::is_same_v<T, LittleRegistered> ? "LittleRegistered" : "Connectionless";
  }
};

INSTANTIATE_TYPED_TEST_SUITE_P(Fabric, Calls, Transports, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Fabric, Payloads, Transports, Names);
// How much is registered is all the same to sleeping and waking.
using Sleepers = ::testing::Types<Tcp, Connectionless>;
struct SleepersNames {
  template <class T>
  static std::string GetName(int) {
    return std::is_same_v<T, Tcp> ? "Tcp" : "Connectionless";
  }
};
INSTANTIATE_TYPED_TEST_SUITE_P(Fabric, WakeUps, Sleepers, SleepersNames);
INSTANTIATE_TYPED_TEST_SUITE_P(Fabric, Crowds, Transports, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Fabric, Deaths, Transports, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Fabric, Blocking, Transports, Names);
// Connected endpoints only: libfabric 1.17 over ofi_rxm crashes in fi_cq_read when a peer dies
// before its first message has connected the two.
using Connected = ::testing::Types<Tcp, LittleRegistered>;
INSTANTIATE_TYPED_TEST_SUITE_P(Fabric, Faults, Connected, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Fabric, SettingUp, Transports, Names);

}  // namespace
}  // namespace sublet::conformance
