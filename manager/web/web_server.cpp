#include <base/log.hpp>
#include <common/async.hpp>
#include <common/host_addresses.hpp>

#include <sys/socket.h>
#include <web/limits.hpp>
#include <web/web_server.hpp>

#include <utility>

namespace sublet::manager::web {
namespace {

constexpr auto kTellFailureAgain = std::chrono::seconds(10);
/// Else who comes honestly would wait behind all who come again and again.
constexpr kj::Duration kAfterFailure = 100 * kj::MILLISECONDS;

kj::HttpServerSettings settings_with(kj::HttpServerErrorHandler& handler) {
  kj::HttpServerSettings settings;
  settings.headerTimeout = to_kj(kHeadLimit);
  settings.pipelineTimeout = to_kj(kIdleLimit);
  settings.errorHandler = handler;
  return settings;
}

std::string place_owner(const Caller& caller) {
  if (caller.proved()) return "uid " + std::to_string(caller.uid);
  return caller.host.empty() ? "somebody unproved" : caller.host;
}

std::string_view text_or_empty(const kj::Maybe<kj::StringPtr>& value) {
  KJ_IF_MAYBE (text, value) return {text->begin(), text->size()};
  return {};
}

std::string bound_host(int fd) {
  sockaddr_storage name{};
  socklen_t length = sizeof(name);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) != 0) return {};
  return numeric_host(reinterpret_cast<const sockaddr*>(&name), length);
}

}  // namespace

/// The headers of requests that count here.
struct WebServer::Headers {
  Headers()
      : authorization(builder.add("Authorization")),
        origin(builder.add("Origin")),
        fetch_site(builder.add("Sec-Fetch-Site")),
        forwarded(builder.add("Forwarded")),
        forwarded_for(builder.add("X-Forwarded-For")),
        via(builder.add("Via")),
        table(builder.build()) {}

  kj::HttpHeaderTable::Builder builder;
  kj::HttpHeaderId authorization;
  kj::HttpHeaderId origin;
  kj::HttpHeaderId fetch_site;
  kj::HttpHeaderId forwarded;
  kj::HttpHeaderId forwarded_for;
  kj::HttpHeaderId via;
  kj::Own<kj::HttpHeaderTable> table;
};

/// The requests of one connection.
class WebServer::Conversation final : public kj::HttpService {
 public:
  Conversation(WebServer& server, PacedStream& stream) : server_(server), stream_(stream) {}

  kj::Promise<void> request(kj::HttpMethod method, kj::StringPtr url,
                            const kj::HttpHeaders& headers, kj::AsyncInputStream& body,
                            Response& response) override {
    stream_.place().heard();
    const WebAccess::Claims claims = server_.claims_of(headers, stream_);
    auto request = std::make_shared<WebRequest>();
    RouteMatch match;
    if (auto refused = check(method, {url.begin(), url.size()}, claims, *request, match)) {
      return server_.send(response, std::move(*refused));
    }
    if (match.route->kind == RouteKind::kStream) return stream(*request, response);
    KJ_IF_MAYBE (length, body.tryGetLength()) {
      if (*length > kMaxBody) return server_.send(response, too_large());
    }
    return read_body(body, *request)
        .then([this, route = match.route, request](bool fits) -> kj::Promise<Reply> {
          if (!fits) return too_large();
          return server_.answer(*route, request);
        })
        .then(
            [this, &response](Reply&& reply) { return server_.send(response, std::move(reply)); });
  }

 private:
  static Reply too_large() {
    return Reply::error(413, "invalid",
                        "at most " + std::to_string(kMaxBody) + " bytes are taken with a request");
  }

  /// The refusal; nothing when the request may be answered, by `match`.
  std::optional<Reply> check(kj::HttpMethod method, std::string_view url,
                             const WebAccess::Claims& claims, WebRequest& request,
                             RouteMatch& match) {
    if (auto good = server_.access_.check_host(claims); !good) {
      return Reply::error(421, "invalid", good.error().what());
    }
    auto target = RequestTarget::parse(url);
    if (!target) return Reply::error(target.error());
    match = find_route(method, target->path);
    if (match.route == nullptr) {
      if (match.other_method) {
        return Reply::error(405, "unsupported", "this can not be done with that method");
      }
      return Reply::error(404, "invalid",
                          "there is nothing here; /api/v1/openapi.json says what is");
    }
    request.target = std::move(*target);
    request.captured = std::move(match.captured);
    if (match.route->kind == RouteKind::kOpen) return std::nullopt;
    if (auto own = WebAccess::check_origin(claims); !own) return Reply::error(own.error());
    auto asker = server_.access_.asker(stream_.caller(), claims);
    if (!asker) return Reply::error(asker.error(), false);
    request.asker = std::move(*asker);
    if (match.route->kind == RouteKind::kChanges && !request.asker.by_token) {
      return Reply::error(
          401, "denied",
          "what changes something needs a token, in a header `Authorization: Bearer "
          "TOKEN`; --http-token-file names the file that has it");
    }
    return std::nullopt;
  }

  /// False: there is more than may be.
  kj::Promise<bool> read_body(kj::AsyncInputStream& body, WebRequest& request) {
    request.body.resize(kMaxBody + 1);
    auto read = body.tryRead(request.body.data(), request.body.size(), request.body.size())
                    .then([&request](std::size_t size) {
                      request.body.resize(size);
                      return size <= kMaxBody;
                    });
    return within(server_.timer_, kBodyLimit, kj::mv(read), "the body of the request");
  }

  kj::Promise<void> stream(const WebRequest& request, Response& response) {
    auto viewer = Viewer::of(request.asker.caller, server_.service_->operators());
    if (!viewer) {
      return server_.send(response, Reply::error(viewer.error(), request.asker.caller.proved()));
    }
    WebCounters& counters = server_.context_.counters;
    if (counters.streams >= kMaxStreams) {
      return server_.send(response, Reply::error(503, "overloaded",
                                                 "as many pages are open as may be: " +
                                                     std::to_string(kMaxStreams)));
    }
    ++counters.streams;
    ++counters.answers.at(2);
    auto headers = server_.common_headers();
    headers.set(kj::HttpHeaderId::CONTENT_TYPE, "text/event-stream");
    auto to = response.send(200, "OK", headers);
    stream_.place().hold();
    return server_.feed_.run(kj::mv(to), std::move(*viewer)).attach(kj::defer([this, &counters] {
      --counters.streams;
      stream_.place().let_go();
    }));
  }

  WebServer& server_;
  PacedStream& stream_;
};

Result<ListeningSocket> WebServer::listen(const std::string& address, const WebAccess& access) {
  const bool has_kind = address.starts_with("unix:") || address.starts_with("tcp:");
  const auto parsed = wire::Address::parse(has_kind ? address : "tcp:" + address);
  if (!parsed) {
    return fail(ErrorKind::kInvalid, std::string("--http: ") + parsed.error().what());
  }
  auto socket = ListeningSocket::open(*parsed, "resource manager");
  if (!socket || parsed->kind == wire::Address::Kind::kUnix) return socket;
  if (!is_loopback(bound_host(socket->fd())) && !access.has_tokens()) {
    return fail(ErrorKind::kDenied,
                "--http " + address +
                    ": other nodes reach this address, and nothing would say who asks; name a "
                    "file with a token by --http-token-file, or listen at 127.0.0.1");
  }
  return socket;
}

WebServer::WebServer(kj::LowLevelAsyncIoProvider& io, ListeningSocket socket, WebAccess access,
                     kj::Own<ResourceManagerService> service,
                     const ConnectionTable::State* connections)
    : io_(io),
      timer_(io.getTimer()),
      socket_(std::move(socket)),
      access_(std::move(access)),
      service_(kj::mv(service)),
      context_{*service_},
      feed_(timer_, *service_, context_.history),
      places_(kMaxConnections),
      headers_(std::make_unique<Headers>()),
      receiver_(io.wrapListenSocketFd(socket_.fd(), kj::LowLevelAsyncIoProvider::ALREADY_NONBLOCK)),
      http_(
          timer_, *headers_->table,
          [this](kj::AsyncIoStream& stream) -> kj::Own<kj::HttpService> {
            return kj::heap<Conversation>(*this, kj::downcast<PacedStream>(stream));
          },
          settings_with(*this)),
      tasks_(*this) {
  context_.web_connections = &places_.state();
  context_.connections = connections;
  tasks_.add(note_loop());
  tasks_.add(accept_loop());
}

WebServer::~WebServer() noexcept(false) = default;

std::string WebServer::url() const {
  const wire::Address& address = socket_.address();
  if (address.kind == wire::Address::Kind::kUnix) return address.to_string();
  const std::string text = address.to_string();
  return "http://" + text.substr(text.find(':') + 1) + "/";
}

kj::Promise<void> WebServer::note_loop() {
  context_.history.note(service_->book(), service_->now());
  return timer_.afterDelay(1 * kj::SECONDS).then([this] { return note_loop(); });
}

kj::Promise<void> WebServer::accept_loop() {
  return kj::evalLater([this] { return receiver_->accept(); })
      .then([this](kj::Own<kj::AsyncIoStream> stream) -> kj::Promise<void> {
        serve(kj::mv(stream));
        return kj::READY_NOW;
      })
      .catch_([this](kj::Exception&& exception) {
        places_.make_room();
        if (const auto now = std::chrono::steady_clock::now(); now >= failure_again_) {
          failure_again_ = now + kTellFailureAgain;
          base::log().error("accepting a connection at {}: {}; trying again", url(),
                            text_of(exception));
        }
        return timer_.afterDelay(kAfterFailure);
      })
      .then([this] { return accept_loop(); });
}

void WebServer::serve(kj::Own<kj::AsyncIoStream> stream) {
  auto paced = kj::heap<PacedStream>(kj::mv(stream), timer_);
  auto pair = kj::newPromiseAndFulfiller<void>();
  // A std::function can be copied, a fulfiller cannot.
  auto closing = std::make_shared<decltype(pair.fulfiller)>(kj::mv(pair.fulfiller));
  auto place = places_.take(place_owner(paced->caller()), [closing] { (*closing)->fulfill(); });
  if (place == nullptr) return;
  paced->set_place(std::move(place));
  tasks_.add(http_.listenHttp(kj::mv(paced)).exclusiveJoin(kj::mv(pair.promise)));
}

WebAccess::Claims WebServer::claims_of(const kj::HttpHeaders& headers,
                                       const PacedStream& stream) const {
  WebAccess::Claims claims;
  claims.host = text_or_empty(headers.get(kj::HttpHeaderId::HOST));
  claims.authorization = text_or_empty(headers.get(headers_->authorization));
  claims.origin = text_or_empty(headers.get(headers_->origin));
  claims.fetch_site = text_or_empty(headers.get(headers_->fetch_site));
  claims.via_proxy = headers.get(headers_->forwarded) != nullptr ||
                     headers.get(headers_->forwarded_for) != nullptr ||
                     headers.get(headers_->via) != nullptr;
  claims.over_unix = stream.is_unix();
  return claims;
}

/// What changes something goes on to its end, whether or not somebody waits for the answer.
kj::Promise<Reply> WebServer::answer(const Route& route, std::shared_ptr<WebRequest> request) {
  auto reply = route.answer(context_, *request).attach(kj::mv(request));
  if (route.kind != RouteKind::kChanges) return reply;
  auto shared = reply.fork();
  tasks_.add(shared.addBranch().ignoreResult());
  return within(timer_, kAnswerLimit, shared.addBranch(), "what nodes were told");
}

/// Others must not put the page into theirs, nor guess what is in an answer.
kj::HttpHeaders WebServer::common_headers() const {
  kj::HttpHeaders headers(*headers_->table);
  headers.add("Cache-Control", "no-store");
  headers.add("X-Content-Type-Options", "nosniff");
  headers.add("X-Frame-Options", "DENY");
  headers.add("Referrer-Policy", "no-referrer");
  headers.add("Cross-Origin-Resource-Policy", "same-origin");
  headers.add("Content-Security-Policy",
              "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
              "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
  return headers;
}

kj::Promise<void> WebServer::send(kj::HttpService::Response& response, Reply reply) {
  ++context_.counters.answers.at(std::min(reply.status / 100, 5u));
  auto headers = common_headers();
  headers.set(kj::HttpHeaderId::CONTENT_TYPE, kj::StringPtr(reply.type.c_str()));
  for (const auto& [name, value] : reply.headers) {
    headers.add(kj::StringPtr(name.c_str()), kj::StringPtr(value.c_str()));
  }
  const std::string& body = *reply.body;
  auto to = response.send(reply.status, status_text(reply.status), headers, body.size());
  auto written = to->write(body.data(), body.size());
  return written.attach(kj::mv(to), std::move(reply));
}

// ---- what went wrong ----

void WebServer::taskFailed(kj::Exception&& exception) {
  // Connections end as their other ends like.
  base::log().debug("HTTP: {}", text_of(exception));
}

kj::Promise<void> WebServer::handleClientProtocolError(kj::HttpHeaders::ProtocolError error,
                                                       kj::HttpService::Response& response) {
  return send(response,
              Reply::error(error.statusCode, "invalid", "this is no request of HTTP/1.1"));
}

kj::Promise<void> WebServer::handleApplicationError(
    kj::Exception exception, kj::Maybe<kj::HttpService::Response&> response) {
  if (exception.getType() == kj::Exception::Type::DISCONNECTED) return kj::READY_NOW;
  const bool late = exception.getType() == kj::Exception::Type::OVERLOADED;
  if (!late) base::log().error("answering over HTTP: {}", text_of(exception));
  KJ_IF_MAYBE (to, response) {
    return send(*to, late ? Reply::error(503, "overloaded", text_of(exception))
                          : Reply::error(500, "internal",
                                         "the request could not be answered; the resource "
                                         "manager's log says why"));
  }
  return kj::READY_NOW;
}

}  // namespace sublet::manager::web
