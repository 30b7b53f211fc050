#pragma once

#include <common/auth/caller.hpp>
#include <common/connection_table.hpp>
#include <wire/handshake.hpp>
#include <wire/signed_grant.hpp>

#include <kj/async-io.h>

#include <functional>
#include <memory>
#include <string>

namespace sublet::manager {

/// The other end of a connection, as what it asks for needs to know it. Outlives the connection and
/// its listener while a call is under way: KJ keeps such calls until its event loop ends.
class Peer {
 public:
  explicit Peer(kj::Own<kj::AsyncIoStream> stream);

  [[nodiscard]] const Caller& caller() const { return caller_; }
  /// Names the connection to both of its ends.
  [[nodiscard]] const wire::ChannelBinding& binding() const { return binding_; }
  /// True when the other end has closed or died.
  [[nodiscard]] bool has_closed() const;
  [[nodiscard]] kj::AsyncIoStream& stream() { return *stream_; }
  /// This end's address as the other end can reach it; empty when it is no TCP connection.
  [[nodiscard]] std::string local_host() const;

  /// For the handshake of a network connection, which gives it back to secured() with what the
  /// other end has proved.
  [[nodiscard]] kj::Own<kj::AsyncIoStream> take_stream() { return kj::mv(stream_); }
  void secured(kj::Own<kj::AsyncIoStream> stream, const wire::PeerProof& proof);

  /// Of a connection that is served; null for one that this process made.
  [[nodiscard]] ConnectionTable::Place* place() const { return place_.get(); }
  /// `table` keeps alive what the place belongs to.
  void set_place(std::unique_ptr<ConnectionTable::Place> place, std::shared_ptr<void> table) {
    place_ = std::move(place);
    table_ = std::move(table);
  }

 private:
  kj::Own<kj::AsyncIoStream> stream_;
  std::shared_ptr<void> table_;  ///< Outlives the place.
  std::unique_ptr<ConnectionTable::Place> place_;
  int fd_ = -1;
  wire::ChannelBinding binding_{};
  Caller caller_;
};

/// The connection holds something as long as the result lives. Nothing for a null peer, which
/// stands for this process.
[[nodiscard]] std::shared_ptr<void> hold_place(const std::shared_ptr<Peer>& peer);

}  // namespace sublet::manager
