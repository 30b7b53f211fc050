// this argument does not travel
#include <sublet/sublet.hpp>

#include <map>
#include <string>
#include <string_view>
#include <vector>

void use(sublet::Lease& lease);
void use(sublet::Lease& lease) {
  const std::map<int, int> numbers;
  (void)lease.call([](int, std::map<int, int> m) { return m.size(); }, 1, numbers);
}
