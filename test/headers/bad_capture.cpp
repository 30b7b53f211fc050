// a capture of this lambda
#include <sublet/sublet.hpp>

#include <map>
#include <string>
#include <string_view>
#include <vector>

void use(sublet::Lease& lease);
void use(sublet::Lease& lease) {
  const std::string text = "captured";
  (void)lease.call([text] { return text.size(); });
}
