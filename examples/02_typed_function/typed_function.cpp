// A remote function with a signature: it takes a Quadratic and returns Roots, or says why not.
//
//   typed_function [LIBRARY]

#include "quadratic.hpp"
#include <sublet/sublet.hpp>

#include <iostream>

int main(int argc, char** argv) try {
  const auto options = sublet::SessionOptions::load(&argc, argv).value_or_throw();
  const char* library = argc > 1 ? argv[1] : TYPED_FUNCTION_FUNCTIONS;

  auto session = sublet::Session::open(options).value_or_throw();
  auto lease = session.lease({.cores = 1}).value_or_throw();
  auto solve = lease.function<Roots(Quadratic)>(library, "solve").value_or_throw();

  const Roots roots = solve({1, -3, 2}).value_or_throw();
  std::cout << "x^2 - 3x + 2 has " << roots.count << " roots: " << roots.x1 << " and " << roots.x2
            << '\n';

  // An error of the function is an ordinary result too, with the function's own words in it.
  const sublet::Result<Roots> failed = solve({0, 1, 1});
  if (failed) {
    std::cerr << "0x^2 + x + 1 should have been refused\n";
    return 1;
  }
  std::cout << "0x^2 + x + 1: " << failed.error().what() << '\n';
  return roots.x1 == 2 && roots.x2 == 1 ? 0 : 1;
} catch (const sublet::Error& error) {
  std::cerr << "typed_function: " << error.what() << '\n';
  return 1;
}
