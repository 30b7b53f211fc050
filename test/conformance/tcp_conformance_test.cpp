#include "all_suites.hpp"
#include <transport/tcp/tcp_transport.hpp>

namespace sublet::conformance {
namespace {

using Tcp = TransportOf<transport::tcp::Transport>;
static_assert(TransportUnderTest<Tcp>);

SUBLET_CONFORMANCE(Tcp, Tcp);

}  // namespace
}  // namespace sublet::conformance
