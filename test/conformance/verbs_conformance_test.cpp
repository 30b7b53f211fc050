#include "all_suites.hpp"
#include "verbs_transport.hpp"

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

SUBLET_CONFORMANCE(Verbs, Transports, Names);

}  // namespace
}  // namespace sublet::conformance
