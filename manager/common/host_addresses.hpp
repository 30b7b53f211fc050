#pragma once

#include <sublet/result.hpp>

#include <string>
#include <vector>

struct sockaddr;

namespace sublet::manager {

/// The numeric host of a socket's address: an IPv4 peer of an IPv6 socket as IPv4. Empty for
/// another family.
std::string numeric_host(const sockaddr* address, unsigned size);

/// "*", "::" and "0.0.0.0": every interface.
bool is_every_interface(const std::string& host);

/// 127.0.0.0/8 and ::1, as numbers.
bool is_loopback(const std::string& host);

/// Hosts that an operator names, checked: names or addresses (IPv6 with or without brackets), no
/// ports. Names are not looked up: others may know more of them.
Result<std::vector<std::string>> advertised_hosts(const std::vector<std::string>& texts);

/// The addresses at which other nodes may reach this one, best first: those of all interfaces that
/// are up, without loopback and link-local ones, the one that the default route leaves by in front.
/// Empty on a machine without a network.
std::vector<std::string> network_addresses();

}  // namespace sublet::manager
