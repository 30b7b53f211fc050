#include "calls_suite.hpp"
#include "deaths_suite.hpp"
#include "fabric_transport.hpp"
#include "payloads_suite.hpp"
#include "setup_suite.hpp"
#include "wakeups_suite.hpp"

namespace sublet::conformance {
namespace {

using Default = FabricTransport<FabricDefault>;
static_assert(TransportUnderTest<Default>);

using Transports = ::testing::Types<Default>;

struct Names {
  template <class T>
  static std::string GetName(int) {
    return "Tcp";
  }
};

INSTANTIATE_TYPED_TEST_SUITE_P(Fabric, Calls, Transports, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Fabric, Payloads, Transports, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Fabric, WakeUps, Transports, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Fabric, Crowds, Transports, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Fabric, Deaths, Transports, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Fabric, SettingUp, Transports, Names);

}  // namespace
}  // namespace sublet::conformance
