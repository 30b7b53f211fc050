#pragma once

#include <resource_manager/resource_manager_service.hpp>

#include <memory>

namespace sublet::manager {

/// What an executor manager holds as long as it is registered; its connection keeps its place.
wire::NodeRegistration::Client make_node_registration(kj::Own<ResourceManagerService> service,
                                                      const RegistrationId& id,
                                                      const std::shared_ptr<Peer>& peer);

}  // namespace sublet::manager
