// The page in a browser, with real leases: what is clicked, and what is shown.
#include "browser.hpp"
#include "support/eventually.hpp"
#include "web_fixture.hpp"
#include <sublet/sublet.hpp>

#include <array>
#include <filesystem>

namespace sublet::test {
namespace {

using nlohmann::json;

class Page : public Web {
 protected:
  void SetUp() override {
    if (Browser::find().empty()) {
      GTEST_SKIP() << "no Chromium is installed (Debian: apt install chromium)";
    }
  }
  void open_page() {
    browser_ = std::make_unique<Browser>(Browser::find());
    browser_->open(url_);
    ASSERT_TRUE(
        browser_->becomes_true("document.getElementById('connection').innerText === 'live'"))
        << browser_->text("#connection");
  }
  /// The text of an element becomes that.
  void expect_text(const std::string& selector, const std::string& text) {
    EXPECT_TRUE(browser_->becomes_true("document.querySelector('" + selector +
                                       "').innerText.includes(" + json(text).dump() + ")"))
        << selector << " shows '" << browser_->text(selector) << "', not '" << text << "'";
  }
  void use_token() {
    browser_->click("#token");
    browser_->type(kToken);
    browser_->press("Enter");
    ASSERT_TRUE(browser_->becomes_true("sessionStorage.getItem('sublet-token') !== null"));
  }
  void say_yes() {
    ASSERT_TRUE(browser_->becomes_true("document.getElementById('confirm').open"));
    browser_->click("#confirm button[value=yes]");
  }
  void screenshot(const std::string& name) {
    std::filesystem::create_directories(WEB_SCREENSHOTS);
    const std::string path = std::string(WEB_SCREENSHOTS) + "/" + name + ".png";
    browser_->screenshot(path);
    EXPECT_GT(std::filesystem::file_size(path), 10'000u) << path;
  }
  void TearDown() override {
    if (browser_ == nullptr) return;
    for (const std::string& complaint : browser_->complaints()) {
      const bool network = complaint.find("\"source\":\"network\"") != std::string::npos;
      if (!network || !loses_manager_) ADD_FAILURE() << complaint;
    }
  }

  bool loses_manager_ = false;

  std::unique_ptr<Browser> browser_;
};

TEST_F(Page, ShowsLeasesAsTheyComeAndGo) {
  start({TestNode{.name = "n1"}, TestNode{.name = "n2", .oversubscribe = 8}});
  open_page();
  expect_text("#sum-held", "0 of 12");
  {
    auto session = Session::open(managers_->session_options()).value_or_throw();
    auto lease = session.lease({.cores = 6, .arena_bytes = 1u << 20}).value_or_throw();
    expect_text("#sum-held", "6 of 12 (50 %)");
    expect_text("#leases", "active");
    expect_text("#leases", "n2");
    expect_text("#leases-count", "1 of 1");
    expect_text("#users", "root");
    // Its time left runs.
    const std::string left = browser_->text("#leases td[data-expires]");
    EXPECT_TRUE(
        browser_->becomes_true("document.querySelector('#leases "
                               "td[data-expires]').innerText !== " +
                               json(left).dump()));
    screenshot("lease");
  }
  expect_text("#sum-held", "0 of 12");
  expect_text("#leases-count", "0 of 0");
}

TEST_F(Page, CountsCalls) {
  start();
  open_page();
  auto session = Session::open(managers_->session_options()).value_or_throw();
  auto lease = session.lease({.cores = 1, .arena_bytes = 1u << 20}).value_or_throw();
  auto echo = lease.function(CLIENT_FUNCTIONS, "echo").value_or_throw();
  EXPECT_TRUE(eventually([&] {
    std::array<char, 8> out{};
    for (int i = 0; i < 100; ++i) {
      if (!echo.call("12345678", 8, out.data(), out.size()).ok()) return false;
    }
    return browser_->evaluate("parseFloat(document.getElementById('sum-calls').innerText)") > 0;
  }));
  for (const char* const time : {"#sum-mean", "#sum-median", "#sum-p99"}) expect_text(time, "s");
}

TEST_F(Page, ChoosesNodesByMouseAndByKeyboard) {
  start({TestNode{.name = "n1"}, TestNode{.name = "n2"}, TestNode{.name = "n3"}});
  open_page();
  expect_text("#sum-up", "3");
  browser_->click_at("#map-canvas", 20, 20);
  expect_text("#node-text", "n1: up, 0 of 4 cores in leases");
  browser_->evaluate("document.getElementById('map').focus()");
  browser_->press("ArrowRight");
  expect_text("#node-text", "n2: up");
  browser_->press("End");
  expect_text("#node-text", "n3: up");
  browser_->press("Home");
  expect_text("#node-text", "n1: up");
  // Without a token nothing can be ordered.
  EXPECT_EQ(browser_->evaluate("document.getElementById('node-actions').hidden"), true);
}

TEST_F(Page, DrainsANodeAndEndsALease) {
  start({TestNode{.name = "n1"}, TestNode{.name = "n2"}});
  open_page();
  use_token();
  auto session = Session::open(managers_->session_options()).value_or_throw();
  auto lease = session
                   .lease({.cores = 4,
                           .arena_bytes = 1u << 20,
                           .replace = false,
                           .notice = std::chrono::minutes(10)})
                   .value_or_throw();
  // A node is given back once its calls have ended.
  auto spin =
      lease.function<std::uint32_t(std::uint32_t)>(CLIENT_FUNCTIONS, "spin_ms").value_or_throw();
  const std::uint32_t ms = 170'000;
  std::uint32_t done = 0;
  const auto call = spin.async(ms, done);
  expect_text("#leases-count", "1 of 1");
  const std::string node = managers_->leases().at(0).nodes.at(0);
  browser_->evaluate("document.getElementById('map').focus()");
  browser_->press(node == "n1" ? "Home" : "End");
  expect_text("#node-text", node + ": up, 4 of 4");
  ASSERT_TRUE(browser_->becomes_true("!document.getElementById('node-actions').hidden"));
  browser_->click("#drain");
  say_yes();
  expect_text("#sum-draining", "1");
  expect_text("#drains", node + ": 4 cores in leases still");
  screenshot("drain");
  browser_->click("#cancel-drain");
  say_yes();
  expect_text("#sum-draining", "0");
  expect_text("#drains", "none");
  ASSERT_TRUE(browser_->becomes_true("document.querySelectorAll('#leases button').length === 2"));
  browser_->click("#leases tr td:last-child button");
  say_yes();
  expect_text("#leases-count", "0 of 0");
  EXPECT_TRUE(managers_->leases().empty());
}

TEST_F(Page, ShowsWhatUsersHaveWrittenAsText) {
  const std::string name = "<img src=x onerror=alert(1)>";
  start({TestNode{.name = name}});
  open_page();
  expect_text("#sum-up", "1");
  browser_->click_at("#map-canvas", 20, 20);
  expect_text("#node-text", name + ": up");
  EXPECT_EQ(browser_->evaluate("document.images.length"), 0);
}

TEST_F(Page, FiltersAndHighlights) {
  start();
  open_page();
  auto session = Session::open(managers_->session_options()).value_or_throw();
  auto lease = session.lease({.cores = 2, .arena_bytes = 1u << 20}).value_or_throw();
  expect_text("#leases-count", "1 of 1");
  browser_->click("#filter");
  browser_->type("nobody");
  expect_text("#leases-count", "0 of 1");
  browser_->evaluate(
      "(() => { const filter = document.getElementById('filter'); filter.value = "
      "'n1'; filter.dispatchEvent(new Event('input')); })()");
  expect_text("#leases-count", "1 of 1");
  browser_->click("#users button");
  EXPECT_TRUE(browser_->becomes_true(
      "document.querySelector('#users button').getAttribute('aria-pressed') === 'true'"));
  browser_->click("#leases button");
  EXPECT_TRUE(browser_->becomes_true(
      "document.querySelector('#leases button').getAttribute('aria-pressed') === 'true' && "
      "document.querySelector('#users button').getAttribute('aria-pressed') === 'false'"));
}

TEST_F(Page, SaysWhenTheManagerIsGone) {
  start();
  open_page();
  loses_manager_ = true;
  managers_->resource_manager().signal(SIGKILL);
  expect_text("#connection", "not connected");
}

TEST_F(Page, IsReadableInTheDarkAndOnASmallScreen) {
  start();
  open_page();
  const auto background = [this] {
    return browser_->evaluate("getComputedStyle(document.body).backgroundColor");
  };
  EXPECT_EQ(background(), "rgb(255, 255, 255)");
  browser_->set_dark(true);
  EXPECT_EQ(background(), "rgb(13, 17, 23)");
  screenshot("dark");
  for (const int width : {1366, 1024, 640, 380}) {
    browser_->set_size(width, 700);
    EXPECT_TRUE(browser_->becomes_true("document.documentElement.scrollWidth <= innerWidth"))
        << width << ": " << browser_->evaluate("document.documentElement.scrollWidth");
  }
  screenshot("small");
}

}  // namespace
}  // namespace sublet::test
