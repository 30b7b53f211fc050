#pragma once

#include <resource_manager/resource_manager_service.hpp>

#include <memory>

namespace sublet::manager {

/// The resource manager as `peer` sees it; a null peer stands for this process.
wire::ResourceManager::Client make_resource_manager(kj::Own<ResourceManagerService> service,
                                                    std::shared_ptr<Peer> peer);

}  // namespace sublet::manager
