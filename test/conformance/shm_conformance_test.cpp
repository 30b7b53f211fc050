#include "blocking_suite.hpp"
#include "calls_suite.hpp"
#include "deaths_suite.hpp"
#include "faults_suite.hpp"
#include "payloads_suite.hpp"
#include "setup_suite.hpp"
#include "shm_transport.hpp"
#include "wakeups_suite.hpp"

namespace sublet::conformance {
namespace {

using transport::shm::FenceMode;

using Asymmetric = ShmTransport<FenceMode::kAsymmetric>;
using Symmetric = ShmTransport<FenceMode::kSymmetric>;
static_assert(TransportUnderTest<Asymmetric> && TransportUnderTest<Symmetric>);

using Transports = ::testing::Types<Asymmetric, Symmetric>;

struct Names {
  template <class T>
  static std::string GetName(int) {
    return std::is_same_v<T, Asymmetric> ? "AsymmetricFences" : "SymmetricFences";
  }
};

INSTANTIATE_TYPED_TEST_SUITE_P(Shm, Calls, Transports, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Shm, Payloads, Transports, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Shm, WakeUps, Transports, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Shm, Crowds, Transports, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Shm, Deaths, Transports, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Shm, Blocking, Transports, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Shm, Faults, Transports, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Shm, SettingUp, Transports, Names);

}  // namespace
}  // namespace sublet::conformance
