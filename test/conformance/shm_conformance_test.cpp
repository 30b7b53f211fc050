#include "all_suites.hpp"
#include <base/asymmetric_fence.hpp>
#include <base/unix_socket.hpp>
#include <transport/shm/shm_transport.hpp>

namespace sublet::conformance {
namespace {

using transport::shm::FenceMode;

/// Fences says who pays for the fence between work and sleep.
template <FenceMode Fences>
class Shm : public TransportOf<transport::shm::Transport> {
 public:
  static constexpr const char* kListenAt = "";  ///< A name that the system chooses.
  static constexpr bool kSharesMemory = true;
  static constexpr bool kMostlyWarm = Fences == FenceMode::kSymmetric;

  static std::string why_not() {
    if (Fences == FenceMode::kAsymmetric && !base::register_asymmetric_fence()) {
      return "this kernel has no expedited membarrier";
    }
    return {};
  }
  static std::shared_ptr<void> connect_silently(const std::string& address) {
    return std::make_shared<base::Fd>(base::connect_abstract(address).value_or_throw());
  }
};

using Asymmetric = Shm<FenceMode::kAsymmetric>;
using Symmetric = Shm<FenceMode::kSymmetric>;
static_assert(TransportUnderTest<Asymmetric> && TransportUnderTest<Symmetric>);

using Transports = ::testing::Types<Asymmetric, Symmetric>;

struct Names {
  template <class T>
  static std::string GetName(int) {
    return std::is_same_v<T, Asymmetric> ? "AsymmetricFences" : "SymmetricFences";
  }
};

SUBLET_CONFORMANCE(Shm, Transports, Names);

}  // namespace
}  // namespace sublet::conformance
