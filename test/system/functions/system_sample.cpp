#include <sublet/function.hpp>

SUBLET_FUNCTION(twice, const double& in, double& out) {
  out = 2 * in;
}
SUBLET_FUNCTION(thrice, const double& in, double& out) {
  out = 3 * in;
}
