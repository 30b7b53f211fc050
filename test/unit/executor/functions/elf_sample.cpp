// Everything that a listing of functions has to tell apart.
#include <sublet/function.hpp>

#include <cstdint>
#include <string>
#include <vector>

struct Point {
  double x, y;
};

SUBLET_FUNCTION(sample_norm, const Point& p, double& result) {
  result = p.x * p.x + p.y * p.y;
}

SUBLET_CALL_FUNCTION(sample_reverse, sublet::FunctionCall& call) {
  const auto in = call.input<char>();
  const auto out = call.output<char>(in.size());
  for (std::size_t i = 0; i < in.size(); ++i) out[i] = in[in.size() - 1 - i];
}

SUBLET_EXPORT std::uint32_t sample_rfaas(void* args, std::uint32_t size, void* res);
std::uint32_t sample_rfaas(void* args, std::uint32_t size, void* res) {
  std::memcpy(res, args, size);
  return size;
}

extern "C" __attribute__((visibility("hidden"))) std::uint32_t sample_hidden(void*, std::uint32_t,
                                                                             void*) {
  return 0;
}

extern "C" __attribute__((weak)) std::uint32_t sample_weak(void*, std::uint32_t, void*) {
  return 0;
}

extern "C" int sample_variable;
int sample_variable = 7;

// A C++ name, and the weak copies of templates that come with it.
std::vector<std::string> sample_mangled(const std::string& text) {
  return {text, text};
}
