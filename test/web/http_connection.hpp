#pragma once

#include <base/fd.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sublet::test {

struct HttpAnswer {
  int status = 0;                              ///< 0: there was none.
  std::map<std::string, std::string> headers;  ///< Names in small letters.
  std::string body;
};

/// One TCP connection to 127.0.0.1, byte by byte: so that a test can also send what no client
/// would. Every wait ends after `limit`.
class HttpConnection {
 public:
  using Headers = std::vector<std::pair<std::string, std::string>>;

  /// As the user `uid`, where that is given: for root only. Throws std::system_error.
  explicit HttpConnection(std::uint16_t port, std::optional<std::uint32_t> uid = {},
                          std::chrono::milliseconds limit = std::chrono::seconds(20));

  void send(const std::string& bytes);
  /// Sends one request, with a Host unless `headers` has one, and reads the answer.
  HttpAnswer ask(const std::string& method, const std::string& target, const Headers& headers = {},
                 const std::string& body = {});
  HttpAnswer read_answer(bool has_body = true);
  /// Reads on until `part` has come, and returns all that has since the last call; what came
  /// before the end or the time limit if it has not.
  std::string read_until(const std::string& part);
  /// True when the other end closes within the limit.
  bool is_closed();

 private:
  /// False at the end, and when the limit is over.
  bool read_more();
  std::string take(std::size_t bytes);

  base::Fd fd_;
  std::uint16_t port_;
  std::chrono::milliseconds limit_;
  std::string buffer_;
};

}  // namespace sublet::test
