#include "all_suites.hpp"
#include <transport/fabric/fabric_transport.hpp>

#include <cstdlib>
#include <string>
#include <type_traits>

namespace sublet::conformance {
namespace {

/// How a run of the suites differs from the usual one: what SUBLET_FABRIC_PROVIDER and
/// SUBLET_FABRIC_REGISTER say, or null.
struct FabricTcp {
  static constexpr const char* kProvider = "tcp";
  static constexpr const char* kRegister = nullptr;
  static constexpr unsigned kFewerCycles = 10;
};
/// As where registering pins memory: inputs are fetched, regions grow.
struct FabricLittleRegistered {
  static constexpr const char* kProvider = "tcp";
  static constexpr const char* kRegister = "4096";
  static constexpr unsigned kFewerCycles = 100;
};
/// Endpoints without connections, as on Slingshot, EFA and Omni-Path.
struct FabricConnectionless {
  static constexpr const char* kProvider = "tcp;ofi_rxm";
  static constexpr const char* kRegister = nullptr;
  static constexpr unsigned kFewerCycles = 100;
};

template <class Variant>
class FabricTransport : public TransportOf<transport::fabric::Transport> {
 public:
  static constexpr unsigned kFewerCycles = Variant::kFewerCycles;
  /// libfabric 1.17 over ofi_rxm crashes in fi_cq_read now and then when a peer has closed its
  /// endpoint with messages under way.
  static constexpr bool kSurvivesDrops = !std::is_same_v<Variant, FabricConnectionless>;

  static std::string why_not() {
    set("SUBLET_FABRIC_PROVIDER", Variant::kProvider);
    set("SUBLET_FABRIC_REGISTER", Variant::kRegister);
    return {};
  }

 private:
  static void set(const char* name, const char* value) {
    if (value != nullptr) {
      ::setenv(name, value, 1);
    } else {
      ::unsetenv(name);
    }
  }
};

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
INSTANTIATE_TYPED_TEST_SUITE_P(Fabric, HandOver, Connected, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Fabric, SettingUp, Transports, Names);

}  // namespace
}  // namespace sublet::conformance
