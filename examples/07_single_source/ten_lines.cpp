#include <sublet/sublet.hpp>

#include <iostream>

int main(int argc, char** argv) {
  sublet::init(argc, argv);  // the first line: workers run this program, without its main()
  auto session = sublet::Session::open().value_or_throw();
  auto lease = session.lease({.cores = 1}).value_or_throw();
  const double scale = 2;
  const auto y = lease.call([scale](double x) { return scale * x; }, 21.0);
  std::cout << y.value() << '\n';
}
