#include <sublet/sublet.hpp>

#include <array>
#include <string>
#include <vector>

namespace {

struct Point {
  double x, y;
};

double add(double a, double b) {
  return a + b;
}

}  // namespace

namespace own {
struct Text {
  std::string text;
};
template <class Archive>
void serialize(Archive& archive, Text& text) {
  archive(text.text);
}
}  // namespace own

int main(int argc, char** argv) {
  sublet::init(argc, argv);
  auto lease = sublet::Session::open().value_or_throw().lease().value_or_throw();
  const double scale = argc;
  std::vector<double> x(3);
  std::array<float, 3> y{};
  bool ok = lease.call(
                     [scale](Point p) {
                       return Point{scale * p.x, p.y};
                     },
                     Point{1, 2})
                .has_value();
  ok = lease.call(add, 1, 2.0F).has_value() && ok;
  ok = lease.function<&add>({.idempotent = true})(1.0, 2.0).has_value() && ok;
  ok = lease
           .call([](std::span<const double> from, std::span<float>) { return from.size(); },
                 sublet::in(x), sublet::out(y))
           .has_value() &&
       ok;
  ok = lease
           .call([](own::Text t, std::array<own::Text, 2> more) { return more[1].text + t.text; },
                 own::Text{"a"}, std::array<own::Text, 2>{})
           .has_value() &&
       ok;
  auto later =
      lease.async([](std::string s) { return std::vector<std::string>{s}; }, std::string("x"));
  return ok && later && later->get() ? 0 : 1;
}
