#include <sublet/function.hpp>

SUBLET_FUNCTION(sample, const double& in, double& out) {
  out = in;
}
