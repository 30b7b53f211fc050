#include "browser.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sodium.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <system_error>

namespace sublet::test {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;

constexpr auto kCallLimit = std::chrono::seconds(60);
constexpr auto kEndLimit = std::chrono::seconds(15);
/// Where Chromium finds its commands and puts its answers: --remote-debugging-pipe.
constexpr int kCommands = 3;
constexpr int kAnswers = 4;

std::pair<base::Fd, base::Fd> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw std::system_error(errno, std::generic_category(), "pipe2");
  }
  // Away from the numbers that the browser's ends get.
  constexpr int kFree = 10;
  std::pair<base::Fd, base::Fd> moved(base::Fd(::fcntl(ends[0], F_DUPFD_CLOEXEC, kFree)),
                                      base::Fd(::fcntl(ends[1], F_DUPFD_CLOEXEC, kFree)));
  ::close(ends[0]);
  ::close(ends[1]);
  return moved;
}

std::string quoted(const std::string& text) {
  return json(text).dump();
}

}  // namespace

std::string Browser::find() {
  if (const char* const named = std::getenv("SUBLET_TEST_BROWSER")) return named;
  for (const char* const path : {"/usr/bin/chromium", "/usr/bin/chromium-browser"}) {
    if (::access(path, X_OK) == 0) return path;
  }
  return {};
}

Browser::Browser(const std::string& program) {
  auto commands = make_pipe();
  auto answers = make_pipe();
  ChildProcess::Options options;
  options.environment = {"HOME=" + temporary_.path(), "XDG_CONFIG_HOME=" + temporary_.path(),
                         "XDG_CACHE_HOME=" + temporary_.path(), "DBUS_SESSION_BUS_ADDRESS"};
  options.output = temporary_.path() + "/log";
  options.fds = {{commands.first.get(), kCommands}, {answers.second.get(), kAnswers}};
  process_ = std::make_unique<ChildProcess>(
      std::vector<std::string>{program, "--headless", "--remote-debugging-pipe", "--no-sandbox",
                               "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                               "--disable-extensions", "--disable-background-networking",
                               "--disable-component-update", "--no-proxy-server",
                               "--force-device-scale-factor=1", "--hide-scrollbars",
                               "--user-data-dir=" + temporary_.path() + "/profile"},
      options);
  to_ = std::move(commands.second);
  from_ = std::move(answers.first);
  const json target = call("Target.createTarget", {{"url", "about:blank"}});
  const json attached =
      call("Target.attachToTarget", {{"targetId", target.at("targetId")}, {"flatten", true}});
  session_ = attached.at("sessionId").get<std::string>();
  for (const char* const domain : {"Page.enable", "Runtime.enable", "Log.enable"}) call(domain);
  set_size(1366, 768);
}

Browser::~Browser() {
  session_.clear();
  try {
    call("Browser.close");
  } catch (const std::exception&) {
    // It ends with its pipes at the latest.
  }
  to_.reset();
  from_.reset();
  (void)process_->wait(kEndLimit);
}

json Browser::call(const std::string& method, json params) {
  const int id = ++calls_;
  json message = {{"id", id}, {"method", method}, {"params", std::move(params)}};
  if (!session_.empty()) message["sessionId"] = session_;
  const std::string text = message.dump() + '\0';
  for (std::size_t sent = 0; sent < text.size();) {
    const ssize_t size = ::write(to_.get(), text.data() + sent, text.size() - sent);
    if (size <= 0) throw std::runtime_error(method + ": the browser has ended");
    sent += static_cast<std::size_t>(size);
  }
  const auto end = steady_clock::now() + kCallLimit;
  for (;;) {
    const json answer = read_message(end);
    if (answer.is_null()) {
      std::ifstream log(temporary_.path() + "/log");
      throw std::runtime_error(method + ": the browser did not answer: " +
                               std::string(std::istreambuf_iterator<char>(log), {}));
    }
    if (answer.value("id", 0) != id) {
      note(answer);
      continue;
    }
    if (answer.contains("error")) {
      throw std::runtime_error(method + ": " + answer.at("error").dump());
    }
    return answer.at("result");
  }
}

json Browser::read_message(steady_clock::time_point end) {
  std::size_t at = 0;
  while ((at = buffer_.find('\0')) == std::string::npos) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - steady_clock::now());
    pollfd wait{from_.get(), POLLIN, 0};
    if (left.count() <= 0 || ::poll(&wait, 1, static_cast<int>(left.count())) <= 0) return {};
    std::array<char, 65536> bytes{};
    const ssize_t size = ::read(from_.get(), bytes.data(), bytes.size());
    if (size <= 0) return {};
    buffer_.append(bytes.data(), static_cast<std::size_t>(size));
  }
  json message = json::parse(buffer_.substr(0, at), nullptr, false);
  buffer_.erase(0, at + 1);
  return message;
}

void Browser::note(const json& message) {
  const std::string method = message.value("method", "");
  if (method == "Runtime.exceptionThrown") {
    complaints_.push_back(message.at("params").at("exceptionDetails").dump());
  } else if (method == "Log.entryAdded") {
    const json& entry = message.at("params").at("entry");
    if (entry.value("level", "") == "error") complaints_.push_back(entry.dump());
  }
}

void Browser::open(const std::string& url) {
  const json opened = call("Page.navigate", {{"url", url}});
  if (opened.contains("errorText")) {
    throw std::runtime_error(url + ": " + opened.at("errorText").get<std::string>());
  }
  if (!becomes_true("document.readyState === 'complete'")) {
    throw std::runtime_error(url + " does not load");
  }
}

void Browser::set_size(int width, int height) {
  call("Emulation.setDeviceMetricsOverride",
       {{"width", width}, {"height", height}, {"deviceScaleFactor", 1}, {"mobile", false}});
}

void Browser::set_dark(bool dark) {
  call("Emulation.setEmulatedMedia",
       {{"features", {{{"name", "prefers-color-scheme"}, {"value", dark ? "dark" : "light"}}}}});
}

json Browser::evaluate(const std::string& expression) {
  const json answer =
      call("Runtime.evaluate",
           {{"expression", expression}, {"returnByValue", true}, {"awaitPromise", true}});
  if (answer.contains("exceptionDetails")) {
    throw std::runtime_error(expression + ": " + answer.at("exceptionDetails").dump());
  }
  return answer.at("result").value("value", json());
}

/// The browser itself looks, at each of its frames.
bool Browser::becomes_true(const std::string& expression, std::chrono::milliseconds limit) {
  return evaluate("new Promise((done) => { const end = performance.now() + " +
                  std::to_string(limit.count()) +
                  "; const look = () => { let is = false; try { is = Boolean(" + expression +
                  "); } catch (error) { is = false; } if (is || performance.now() > end) done(is); "
                  "else setTimeout(look, 20); }; look(); })") == true;
}

std::string Browser::text(const std::string& selector) {
  const json text =
      evaluate("(document.querySelector(" + quoted(selector) + ") || {}).innerText || ''");
  return text.is_string() ? text.get<std::string>() : std::string();
}

void Browser::mouse(const char* type, double x, double y) {
  call("Input.dispatchMouseEvent",
       {{"type", type}, {"x", x}, {"y", y}, {"button", "left"}, {"clickCount", 1}});
}

void Browser::click(const std::string& selector) {
  const json box = evaluate("(() => { const found = document.querySelector(" + quoted(selector) +
                            "); if (!found) return null; found.scrollIntoView({block: 'center', "
                            "behavior: 'instant'}); const box = found.getBoundingClientRect(); "
                            "return [box.x + box.width / 2, box.y + box.height / 2]; })()");
  if (!box.is_array()) throw std::runtime_error("there is no " + selector + " to click");
  mouse("mousePressed", box.at(0).get<double>(), box.at(1).get<double>());
  mouse("mouseReleased", box.at(0).get<double>(), box.at(1).get<double>());
}

void Browser::click_at(const std::string& selector, double x, double y) {
  const json corner = evaluate("(() => { const found = document.querySelector(" + quoted(selector) +
                               "); if (!found) return null; found.scrollIntoView({block: "
                               "'nearest', behavior: 'instant'}); const box = "
                               "found.getBoundingClientRect(); return [box.x, box.y]; })()");
  if (!corner.is_array()) throw std::runtime_error("there is no " + selector + " to click");
  mouse("mousePressed", corner.at(0).get<double>() + x, corner.at(1).get<double>() + y);
  mouse("mouseReleased", corner.at(0).get<double>() + x, corner.at(1).get<double>() + y);
}

void Browser::press(const std::string& key) {
  json event = {{"type", "keyDown"}, {"key", key}, {"code", key}};
  if (key == "Enter") event.update({{"text", "\r"}, {"windowsVirtualKeyCode", 13}});
  if (key == "Tab") event["windowsVirtualKeyCode"] = 9;
  call("Input.dispatchKeyEvent", event);
  event["type"] = "keyUp";
  event.erase("text");
  call("Input.dispatchKeyEvent", event);
}

void Browser::type(const std::string& text) {
  call("Input.insertText", {{"text", text}});
}

void Browser::screenshot(const std::string& path) {
  const std::string encoded =
      call("Page.captureScreenshot", {{"format", "png"}}).at("data").get<std::string>();
  std::string bytes(encoded.size(), '\0');
  std::size_t size = 0;
  if (sodium_base642bin(reinterpret_cast<unsigned char*>(bytes.data()), bytes.size(),
                        encoded.data(), encoded.size(), nullptr, &size, nullptr,
                        sodium_base64_VARIANT_ORIGINAL) != 0) {
    throw std::runtime_error("the screenshot is no base64");
  }
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(size));
}

}  // namespace sublet::test
