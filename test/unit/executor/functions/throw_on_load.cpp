#include <stdexcept>
namespace {
struct Thrower {
  Thrower() { throw std::runtime_error("thrown while loading"); }
} thrower;
}  // namespace
extern "C" unsigned unused(void*, unsigned, void*) {
  return 0;
}
