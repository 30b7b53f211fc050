#include <transport/any/states.hpp>
#include <transport/any/transports.hpp>

#include <utility>

namespace sublet::transport {

std::vector<TransportState> transport_states() {
  std::vector<TransportState> states;
  Transports::for_each([&]<class Row>(Kind kind) {
    Finding finding = Row::state();
    states.push_back({kind, finding.good, Row::kLocksMemory, std::move(finding.text)});
  });
  return states;
}

}  // namespace sublet::transport
