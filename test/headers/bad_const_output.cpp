// not const
#include <sublet/sublet.hpp>

#include <map>
#include <string>
#include <string_view>
#include <vector>

void use(sublet::Lease& lease);
void use(sublet::Lease& lease) {
  const std::vector<int> numbers;
  (void)lease.call([](std::span<int>) {}, sublet::out(numbers));
}
