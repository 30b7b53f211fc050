// Functions of the program itself on leased workers: a lambda with what it captures, a free
// function, memory in and out, and a type of one's own.
//
//   single_source

#include <sublet/sublet.hpp>

#include <cmath>
#include <iostream>
#include <numeric>
#include <span>
#include <string>
#include <vector>

// What is not plain data says what it is made of, for both directions.
struct Curve {
  std::string name;
  std::vector<double> points;
};

template <class Archive>
void serialize(Archive& archive, Curve& curve) {
  archive(curve.name, curve.points);
}

static double norm(double x, double y) {
  return std::hypot(x, y);
}

int main(int argc, char** argv) try {
  sublet::init(argc, argv);  // first of all: the workers run this program, without its main()
  auto session = sublet::Session::open().value_or_throw();
  auto lease = session.lease({.cores = 1}).value_or_throw();

  const double scale = 2.5;
  const auto scaled = lease.call([scale](double x) { return scale * x; }, 4.0);
  std::cout << "a lambda: " << scaled.value() << '\n';
  std::cout << "a function: " << lease.call(norm, 3.0, 4.0).value_or_throw() << '\n';

  // Memory of the lease's arena is worked on where it lies, when the worker is on this node.
  auto x = lease.buffer<double>(1000).value_or_throw();
  auto y = lease.buffer<double>(1000).value_or_throw();
  std::iota(x.begin(), x.end(), 0.0);
  const auto square = [scale](std::span<const double> from, std::span<double> to) {
    for (std::size_t i = 0; i < from.size(); ++i) to[i] = scale * from[i] * from[i];
  };
  lease.call(square, sublet::in(x), sublet::out(y)).value_or_throw();
  std::cout << "memory: " << y[10] << '\n';

  // The worker computes while this program goes on.
  auto longer = lease.async(
      [](Curve curve, int times) {
        for (int i = 0; i < times; ++i) curve.points.push_back(curve.points.back() / 2);
        curve.name += " halved";
        return curve;
      },
      Curve{"a curve", {8}}, 3);
  const Curve curve = std::move(longer).value_or_throw().get().value_or_throw();
  std::cout << curve.name << ": " << curve.points.back() << '\n';

  // What a function throws comes back as an error that names it.
  const auto failed =
      lease.call([](int n) { return std::vector<int>(3).at(static_cast<std::size_t>(n)); }, 7);
  std::cout << (failed ? "?" : failed.error().what()) << '\n';
  return 0;
} catch (const std::exception& error) {
  std::cerr << "single_source: " << error.what() << '\n';
  return 1;
}
