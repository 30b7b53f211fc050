#pragma once

#include <common/connection_table.hpp>
#include <common/listening_socket.hpp>
#include <resource_manager/resource_manager_service.hpp>

#include <kj/async-io.h>
#include <kj/compat/http.h>
#include <web/api.hpp>
#include <web/event_feed.hpp>
#include <web/paced_stream.hpp>
#include <web/web_access.hpp>

#include <chrono>
#include <memory>
#include <string>

namespace sublet::manager::web {

// clang-format off
/// The resource manager over HTTP: the page, metrics, and the API that openapi.json describes.
///
/// PROTOCOL  HTTP/1.1. A request is checked in this order: its size, its Host, that no other site asks,
///           its path and method, who asks, what he may. Answers say `no-store`, and a
///           Content-Security-Policy that lets the page load nothing from anywhere else.
/// LIMITS    limits.hpp. A connection that says nothing, sends slowly or does not take its answer is
///           closed; when all places are taken, a newcomer gets one from whoever has most.
// clang-format on
/// Owner: main, before the event loop ends; dropping it drops the connections. One thread: the
/// resource manager's loop.
class WebServer final : private kj::TaskSet::ErrorHandler, private kj::HttpServerErrorHandler {
 public:
  /// "127.0.0.1:8080", "tcp:HOST:PORT" or "unix:PATH". kDenied: other nodes could reach it, and
  /// there is no token that they would need.
  static Result<ListeningSocket> listen(const std::string& address, const WebAccess& access);

  /// `connections`, of clients and nodes, outlives this; null: metrics do without.
  WebServer(kj::LowLevelAsyncIoProvider& io, ListeningSocket socket, WebAccess access,
            kj::Own<ResourceManagerService> service, const ConnectionTable::State* connections);
  ~WebServer() noexcept(false);
  KJ_DISALLOW_COPY(WebServer);

  /// "http://127.0.0.1:8080/", or "unix:PATH".
  [[nodiscard]] std::string url() const;

 private:
  class Conversation;
  struct Headers;

  kj::Promise<void> accept_loop();
  void serve(kj::Own<kj::AsyncIoStream> stream);
  kj::Promise<void> note_loop();
  [[nodiscard]] WebAccess::Claims claims_of(const kj::HttpHeaders& headers,
                                            const PacedStream& stream) const;
  kj::Promise<Reply> answer(const Route& route, std::shared_ptr<WebRequest> request);
  kj::Promise<void> send(kj::HttpService::Response& response, Reply reply);
  kj::HttpHeaders common_headers() const;

  // ---- What went wrong ----
  void taskFailed(kj::Exception&& exception) override;
  kj::Promise<void> handleClientProtocolError(kj::HttpHeaders::ProtocolError error,
                                              kj::HttpService::Response& response) override;
  kj::Promise<void> handleApplicationError(kj::Exception exception,
                                           kj::Maybe<kj::HttpService::Response&> response) override;

  kj::LowLevelAsyncIoProvider& io_;
  kj::Timer& timer_;
  ListeningSocket socket_;
  WebAccess access_;
  kj::Own<ResourceManagerService> service_;
  ApiContext context_;
  EventFeed feed_;
  ConnectionTable places_;
  std::unique_ptr<Headers> headers_;
  kj::Own<kj::ConnectionReceiver> receiver_;
  std::chrono::steady_clock::time_point failure_again_{};
  kj::HttpServer http_;
  kj::TaskSet tasks_;
};

}  // namespace sublet::manager::web
