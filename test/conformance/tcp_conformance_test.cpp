#include "blocking_suite.hpp"
#include "calls_suite.hpp"
#include "deaths_suite.hpp"
#include "faults_suite.hpp"
#include "payloads_suite.hpp"
#include "setup_suite.hpp"
#include "tcp_transport.hpp"
#include "wakeups_suite.hpp"

namespace sublet::conformance {
namespace {

static_assert(TransportUnderTest<TcpTransport>);

INSTANTIATE_TYPED_TEST_SUITE_P(Tcp, Calls, TcpTransport);
INSTANTIATE_TYPED_TEST_SUITE_P(Tcp, Payloads, TcpTransport);
INSTANTIATE_TYPED_TEST_SUITE_P(Tcp, WakeUps, TcpTransport);
INSTANTIATE_TYPED_TEST_SUITE_P(Tcp, Crowds, TcpTransport);
INSTANTIATE_TYPED_TEST_SUITE_P(Tcp, Deaths, TcpTransport);
INSTANTIATE_TYPED_TEST_SUITE_P(Tcp, Blocking, TcpTransport);
INSTANTIATE_TYPED_TEST_SUITE_P(Tcp, Faults, TcpTransport);
INSTANTIATE_TYPED_TEST_SUITE_P(Tcp, SettingUp, TcpTransport);

}  // namespace
}  // namespace sublet::conformance
