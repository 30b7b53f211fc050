// The static probes: their notes in what is built, and the scripts of docs/how-to/probes.md, run by
// bpftrace while real calls are made.

#include "command_fixture.hpp"
#include "support/eventually.hpp"
#include "support/managers.hpp"
#include <sublet/sublet.hpp>

#include <array>
#include <csignal>
#include <fstream>

namespace sublet::test {
namespace {

class Probes : public CommandTest {
 protected:
  /// What readelf says of a file's probes.
  std::string notes_of(const std::string& path) {
    const Ended ended = run_program({"/usr/bin/readelf", "-n", path});
    EXPECT_EQ(ended.code, 0) << ended.output;
    return ended.output;
  }
  void SetUp() override {
#if !__has_include(<sys/sdt.h>)
    GTEST_SKIP() << "this build has no probes: systemtap-sdt-dev is not installed";
#endif
  }
  static void expect_probe(const std::string& notes, const std::string& name) {
    EXPECT_NE(notes.find("Provider: sublet\n    Name: " + name + "\n"), std::string::npos)
        << name << " is not in: " << notes;
  }
  bool can_trace() {
    return run_program({"/usr/bin/bpftrace", "-e", "BEGIN { exit() }"}).code == 0;
  }
  [[nodiscard]] std::string written() const {
    std::ifstream file(output());
    return {std::istreambuf_iterator<char>(file), {}};
  }
  [[nodiscard]] std::string output() const {
    return directory_ + "/traced";
  }

  /// Makes calls while the script traces `binary`, until it has said `text`.
  void trace(const std::string& script, const std::string& binary, const std::string& text) {
    const TestManagers managers;
    auto session = Session::open(managers.session_options()).value_or_throw();
    auto lease = session.lease({.cores = 1, .arena_bytes = 1u << 20}).value_or_throw();
    auto echo = lease.function(CLIENT_FUNCTIONS, "echo").value_or_throw();
    ChildProcess::Options options;
    options.output = output();
    ChildProcess bpftrace({"/usr/bin/bpftrace", std::string(PROBE_SCRIPTS) + "/" + script, binary},
                          options);
    EXPECT_TRUE(eventually([&] {
      std::array<char, 8> out{};
      EXPECT_TRUE(echo.call("12345678", 8, out.data(), out.size()).ok());
      return written().find(text) != std::string::npos;
    })) << written();
    bpftrace.signal(SIGINT);
    EXPECT_TRUE(bpftrace.wait(std::chrono::seconds(20)));
  }
};

TEST_F(Probes, AreInTheLibraryAndInExecutors) {
  const std::string library = notes_of(SUBLET_LIBRARY);
  expect_probe(library, "submit");
  expect_probe(library, "reply");
  for (const char* const name : {"sublet-executor", "libsublet_application.so"}) {
    const std::string executor = notes_of(built_program(name));
    expect_probe(executor, "start");
    expect_probe(executor, "end");
  }
}

TEST_F(Probes, TellHowLongEachFunctionRuns) {
  if (!can_trace()) GTEST_SKIP() << "bpftrace is not installed, or may not trace here";
  trace("function_latency.bt", built_program("sublet-executor"), "@ns[echo]:");
}

TEST_F(Probes, TellWhichProcessesCall) {
  if (!can_trace()) GTEST_SKIP() << "bpftrace is not installed, or may not trace here";
  // The client library is in this program.
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  trace("calls_by_process.bt", self, "@calls[" + std::to_string(::getpid()) + ", ");
}

}  // namespace
}  // namespace sublet::test
