#include "blocking_suite.hpp"
#include "calls_suite.hpp"
#include "deaths_suite.hpp"
#include "faults_suite.hpp"
#include "payloads_suite.hpp"
#include "setup_suite.hpp"
#include "verbs_transport.hpp"
#include "wakeups_suite.hpp"

namespace sublet::conformance {
namespace {

static_assert(TransportUnderTest<VerbsTransport>);

using Transports = ::testing::Types<VerbsTransport>;

struct Names {
  template <class T>
  static std::string GetName(int) {
    return "Rdma";
  }
};

INSTANTIATE_TYPED_TEST_SUITE_P(Verbs, Calls, Transports, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Verbs, Payloads, Transports, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Verbs, WakeUps, Transports, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Verbs, Crowds, Transports, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Verbs, Deaths, Transports, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Verbs, Blocking, Transports, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Verbs, Faults, Transports, Names);
INSTANTIATE_TYPED_TEST_SUITE_P(Verbs, SettingUp, Transports, Names);

}  // namespace
}  // namespace sublet::conformance
