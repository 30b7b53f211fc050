// cannot be called with these arguments
#include <sublet/sublet.hpp>

#include <map>
#include <string>
#include <string_view>
#include <vector>

void use(sublet::Lease& lease);
void use(sublet::Lease& lease) {
  (void)lease.call([](int) {}, std::string());
}
