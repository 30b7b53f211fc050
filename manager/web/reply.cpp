#include <web/json_text.hpp>
#include <web/reply.hpp>

namespace sublet::manager::web {
namespace {

unsigned status_of(ErrorKind kind, bool proved) {
  switch (kind) {
    case ErrorKind::kInvalid:
      return 400;
    case ErrorKind::kDenied:
      return proved ? 403 : 401;
    case ErrorKind::kDisconnected:
      return 409;
    case ErrorKind::kOverloaded:
      return 503;
    case ErrorKind::kUnsupported:
      return 501;
    default:
      return 500;
  }
}

}  // namespace

Reply Reply::json(std::string text, unsigned status) {
  Reply reply;
  reply.status = status;
  reply.body = std::make_shared<const std::string>(std::move(text));
  return reply;
}

Reply Reply::text(std::string text, unsigned status) {
  Reply reply = json(std::move(text), status);
  reply.type = "text/plain; charset=utf-8";
  return reply;
}

Reply Reply::error(unsigned status, std::string_view kind, std::string_view message) {
  std::string text = R"({"error":{"kind":)";
  append_quoted(text, kind);
  text += R"(,"message":)";
  append_quoted(text, message);
  text += "}}\n";
  Reply reply = json(std::move(text), status);
  if (status == 401) reply.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"sublet\"");
  if (status == 503) reply.headers.emplace_back("Retry-After", "5");
  return reply;
}

Reply Reply::error(const Error& error, bool proved) {
  return Reply::error(status_of(error.kind(), proved), to_string(error.kind()), error.what());
}

const char* status_text(unsigned status) noexcept {
  switch (status) {
    case 200:
      return "OK";
    case 202:
      return "Accepted";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 421:
      return "Misdirected Request";
    case 431:
      return "Request Header Fields Too Large";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    default:
      return status < 400 ? "OK" : status < 500 ? "Bad Request" : "Internal Server Error";
  }
}

}  // namespace sublet::manager::web
