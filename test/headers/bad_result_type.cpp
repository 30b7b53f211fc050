// what the function returns does not travel
#include <sublet/sublet.hpp>

#include <map>
#include <string>
#include <string_view>
#include <vector>

void use(sublet::Lease& lease);
void use(sublet::Lease& lease) {
  (void)lease.call([] { return std::map<int, int>(); });
}
