// this argument is a pointer or a view
#include <sublet/sublet.hpp>

#include <map>
#include <string>
#include <string_view>
#include <vector>

void use(sublet::Lease& lease);
void use(sublet::Lease& lease) {
  int number = 0;
  (void)lease.call([](const int* n) { return *n; }, &number);
}
