// this argument is a pointer or a view
#include <sublet/sublet.hpp>

#include <map>
#include <string>
#include <string_view>
#include <vector>

void use(sublet::Lease& lease);
void use(sublet::Lease& lease) {
  const std::string_view text = "view";
  (void)lease.call([](std::string_view t) { return t.size(); }, text);
}
