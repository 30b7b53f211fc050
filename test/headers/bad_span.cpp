// the elements of a span travel as their bytes
#include <sublet/sublet.hpp>

#include <map>
#include <string>
#include <string_view>
#include <vector>

void use(sublet::Lease& lease);
void use(sublet::Lease& lease) {
  const std::vector<std::string> words;
  (void)lease.call([](std::span<const std::string> w) { return w.size(); }, sublet::in(words));
}
